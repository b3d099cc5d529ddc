SELECT json_group_array(json_object('type', type, 'name', name, 'table', tbl_name, 'sql', sql))
FROM sqlite_temp_schema WHERE sql IS NOT NULL
