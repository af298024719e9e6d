"""Prints what DuckDB's delta extension sees in a table, as a JSON list of rows.

Usage: duckdb_rows.py TABLE_DIRECTORY QUERY   (the query reads from `delta`)

The extension lies in its wheel; nothing is loaded from the network.
"""

import json
import pathlib
import sys

import duckdb
import duckdb_extension_delta

table, query = sys.argv[1:]
wheel = pathlib.Path(duckdb_extension_delta.__file__).parent
extension = next(wheel.rglob("delta.duckdb_extension"))
connection = duckdb.connect()
connection.execute(f"LOAD '{extension}'")
connection.execute(f"CREATE VIEW delta AS SELECT * FROM delta_scan('{table}')")
print(json.dumps(connection.execute(query).fetchall(), default=str))
