SELECT {row}
FROM {schema}_record AS record WHERE id = $1
