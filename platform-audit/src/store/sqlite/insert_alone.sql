-- A success that stands alone, as that of a reading, must not meet the obligation of another transaction.
WHERE value ->> 'outcome' <> 'success' OR NOT EXISTS (SELECT 1 FROM main.{schema}_obligation WHERE record_id = '')
