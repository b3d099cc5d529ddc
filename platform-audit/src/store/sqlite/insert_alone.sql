-- Appended to insert.sql for a record without a change, such as that of a reading: it must not
-- resolve the obligation of another transaction.
WHERE value ->> 'outcome' <> 'success' OR NOT EXISTS (SELECT 1 FROM main.{schema}_obligation WHERE record_id = '')
