SELECT json_build_object(
    'size', size,
    'root', encode(root, 'hex'),
    'seen', seen::text,
    'same_server', system_identifier = (SELECT system_identifier FROM pg_control_system())
)::text FROM {schema}.tree
