"""Prints what DuckDB's delta extension sees in a table, as a JSON list of rows.

Usage: duckdb_rows.py TABLE QUERY   (the query reads from `delta`)

TABLE is a directory, or s3://BUCKET/PATH with AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY in the environment. The extensions lie in their wheels; nothing is loaded from the
network.
"""

import json
import os
import pathlib
import sys
import urllib.parse

import duckdb
import duckdb_extension_delta
import duckdb_extension_httpfs

table, query = sys.argv[1:]
connection = duckdb.connect()


def load(module, name):
    wheel = pathlib.Path(module.__file__).parent
    connection.execute(f"LOAD '{next(wheel.rglob(name + '.duckdb_extension'))}'")


if table.startswith("s3://"):
    load(duckdb_extension_httpfs, "httpfs")
    endpoint = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
    connection.execute(
        f"""CREATE SECRET (TYPE s3, KEY_ID '{os.environ["AWS_ACCESS_KEY_ID"]}',
            SECRET '{os.environ["AWS_SECRET_ACCESS_KEY"]}', REGION '{os.environ["AWS_REGION"]}',
            ENDPOINT '{endpoint.netloc}', USE_SSL {endpoint.scheme == "https"}, URL_STYLE 'path')"""
    )
load(duckdb_extension_delta, "delta")
connection.execute(f"CREATE VIEW delta AS SELECT * FROM delta_scan('{table}')")
print(json.dumps(connection.execute(query).fetchall(), default=str))
