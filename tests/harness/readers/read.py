"""Reads an export with third-party libraries, and prints its content as JSON.

    read.py parquet FILE
    read.py fhir FILE
"""

import json
import sys


def parquet(path):
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path)
    column = file.schema_arrow.names.index("recorded_at")
    spans = []
    for group in range(file.metadata.num_row_groups):
        statistics = file.metadata.row_group(group).column(column).statistics
        spans.append([statistics.min.isoformat(), statistics.max.isoformat()])
    return {
        "types": {field.name: str(field.type) for field in file.schema_arrow},
        "rows": file.read().to_pylist(),
        "spans": spans,
        "sorted": [
            [column.column_index for column in file.metadata.row_group(at).sorting_columns]
            for at in range(file.metadata.num_row_groups)
        ],
    }


def fhir(path):
    from fhir.resources.auditevent import AuditEvent

    with open(path, encoding="utf-8") as lines:
        events = [AuditEvent.model_validate_json(line) for line in lines]
    # Serialised by the library again, so that the test sees what it parsed.
    return [json.loads(event.model_dump_json()) for event in events]


if __name__ == "__main__":
    found = {"parquet": parquet, "fhir": fhir}[sys.argv[1]](sys.argv[2])
    json.dump(found, sys.stdout, default=lambda value: value.isoformat())
