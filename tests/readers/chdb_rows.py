"""Prints what chDB, which is ClickHouse in a process, sees in a table, as a JSON list of rows.

Usage: chdb_rows.py TABLE QUERY   (the query reads from `delta`)

TABLE is a directory, or s3://BUCKET/PATH with AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY in the environment.
"""

import json
import os
import sys

import chdb

table, query = sys.argv[1:]
if table.startswith("s3://"):
    url = f"{os.environ['AWS_ENDPOINT_URL']}/{table.removeprefix('s3://')}/"
    source = f"deltaLake('{url}', '{os.environ['AWS_ACCESS_KEY_ID']}', '{os.environ['AWS_SECRET_ACCESS_KEY']}')"
else:
    # It reads only what lies below the working directory.
    os.chdir(table)
    source = f"deltaLakeLocal('{table}')"
# ClickHouse's length() counts bytes.
query = query.replace("length(", "lengthUTF8(").replace("FROM delta", f"FROM {source}")
print(json.dumps([json.loads(row) for row in str(chdb.query(query, "JSONCompactEachRow")).splitlines()]))
