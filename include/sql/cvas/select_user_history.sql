-- The transactions of subscriptions as they came, a user's refunds that name none, and the user's single purchases,
-- which belong to no subscription (R66).
-- Grain: one row per transaction; by subscription, date and type (cancellations and refunds after the others).
-- Reads: act, reno, dct, ppd, cnr, rfnd. Writes: nothing.
-- Params: $subscriptions (ids), $users, $phones (texts). Re-run: read only.
WITH ids AS (
    SELECT unnest($subscriptions::BIGINT []) AS id
),

users AS (
    SELECT unnest($users::VARCHAR []) AS id
),

phones AS (
    SELECT unnest($phones::VARCHAR []) AS phone
),

events AS (
    SELECT *, 'ACT' AS kind FROM act
    WHERE subscription_id IN (SELECT id FROM ids)
    UNION ALL BY NAME
    SELECT *, 'RENO' AS kind FROM reno
    WHERE subscription_id IN (SELECT id FROM ids)
    UNION ALL BY NAME
    SELECT *, 'DCT' AS kind FROM dct
    WHERE subscription_id IN (SELECT id FROM ids)
    UNION ALL BY NAME
    SELECT *, 'PPD' AS kind FROM ppd
    WHERE
        subscription_id IN (SELECT id FROM ids)
        OR tmuserid IN (SELECT id FROM users)
        OR msisdn IN (SELECT phone FROM phones)
)

SELECT
    subscription_id,
    kind,
    trans_type_id AS type_rank,
    trans_date AS event_date,
    cpc,
    coalesce(channel_act, channel_dct) AS channel,
    rev AS amount,
    NULL::BIGINT AS refunds,
    act_date,
    reno_date,
    camp_name,
    tef_prov,
    campana_medium,
    campana_id,
    tmuserid,
    msisdn
FROM events
UNION ALL BY NAME
SELECT
    sbn_id AS subscription_id,
    'CNR' AS kind,
    99 AS type_rank,
    cancel_date AS event_date,
    cpc,
    mode AS channel,
    tmuserid
FROM cnr
WHERE sbn_id IN (SELECT id FROM ids)
UNION ALL BY NAME
SELECT
    sbnid AS subscription_id,
    'RFND' AS kind,
    100 AS type_rank,
    refnd_date AS event_date,
    cpc,
    CASE instant_rfnd WHEN 't' THEN 'automatic' WHEN 'f' THEN 'regular' END AS channel,
    rfnd_amount AS amount,
    rfnd_cnt AS refunds,
    tmuserid
FROM rfnd
WHERE sbnid IN (SELECT id FROM ids) OR (sbnid IS NULL AND tmuserid IN (SELECT id FROM users))
ORDER BY subscription_id NULLS LAST, event_date NULLS LAST, type_rank, cpc, amount
