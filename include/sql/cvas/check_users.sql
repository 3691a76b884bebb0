-- Per type, how many rows have no user id or phone, or one that does not look like one (R63); null for phones where the
-- type has none. Counts only (R5).
-- Grain: one row per type that has rows. Reads: temporary table user_pairs. Writes: nothing. Params: none.
-- Re-run: read only.
SELECT
    type,
    sum(n_rows)::BIGINT AS n_rows,
    coalesce(sum(n_rows) FILTER (WHERE tmuserid IS NULL), 0)::BIGINT AS null_tmuserid,
    coalesce(sum(n_rows) FILTER (WHERE NOT regexp_full_match(tmuserid, '[0-9]{18,19}')), 0)::BIGINT AS odd_tmuserid,
    if(has_phone, coalesce(sum(n_rows) FILTER (WHERE msisdn IS NULL), 0), NULL)::BIGINT AS null_msisdn,
    if(has_phone, coalesce(sum(n_rows) FILTER (WHERE NOT regexp_full_match(msisdn, '34[0-9]{9}')), 0), NULL)::BIGINT
        AS odd_msisdn
FROM user_pairs
GROUP BY type, has_phone
ORDER BY type
