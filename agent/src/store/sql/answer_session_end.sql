-- Runs as vctl-audit-ingest-<host>. $1 is the request, $2 the answer.
select vctl.answer_session_end_v1($1, $2)
