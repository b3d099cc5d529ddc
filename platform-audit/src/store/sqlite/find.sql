SELECT {row}
FROM main.{schema}_record AS record WHERE id = $1
