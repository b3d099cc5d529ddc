SELECT relation FROM main.{schema}_obligation WHERE record_id = ''
