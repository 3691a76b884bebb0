-- How many users and phones there are, and how many belong to several of the other (R63). Counts only (R5).
-- Grain: one row. Reads: temporary table user_pairs. Writes: nothing. Params: none. Re-run: read only.
WITH pairs AS (
    SELECT DISTINCT
        tmuserid,
        msisdn
    FROM user_pairs
),

users AS (
    SELECT count(msisdn) AS phones
    FROM pairs
    WHERE tmuserid IS NOT NULL
    GROUP BY tmuserid
),

phones AS (
    SELECT count(tmuserid) AS users
    FROM pairs
    WHERE msisdn IS NOT NULL
    GROUP BY msisdn
)

SELECT
    (SELECT count(*) FROM users) AS users,
    (SELECT count(*) FROM users WHERE phones > 1) AS users_with_several_phones,
    (SELECT count(*) FROM phones) AS phones,
    (SELECT count(*) FROM phones WHERE users > 1) AS phones_with_several_users
