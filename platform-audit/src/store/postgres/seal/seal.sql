SELECT record_send(ROW(position, recorded_at, id, salt, digest, hints, erased::text)) FROM {schema}.seal
