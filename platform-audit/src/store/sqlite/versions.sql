SELECT json_group_array(version) FROM {schema}_migration WHERE success
