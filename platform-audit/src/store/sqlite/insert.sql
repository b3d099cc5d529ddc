INSERT INTO main.{schema}_record (xid, {columns})
SELECT $2, {members}
FROM json_each($1)
