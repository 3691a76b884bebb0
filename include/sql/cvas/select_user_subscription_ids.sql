-- The ids of the subscriptions that are or once were those of a user or a phone (R66).
-- Grain: one row per id, in order. Reads: subscriptions, act, reno, dct, cnr, rfnd. Writes: nothing.
-- Params: $who (tmuserid or msisdn, a list of one column), $value (what it is), $user (the same if it is a user id,
-- else null: cancellations and refunds name no phone). Re-run: read only.
SELECT subscription_id FROM subscriptions WHERE COLUMNS($who) = $value
UNION
SELECT subscription_id FROM act WHERE COLUMNS($who) = $value
UNION
SELECT subscription_id FROM reno WHERE COLUMNS($who) = $value
UNION
SELECT subscription_id FROM dct WHERE COLUMNS($who) = $value
UNION
SELECT sbn_id FROM cnr WHERE tmuserid = $user
UNION
SELECT sbnid FROM rfnd WHERE tmuserid = $user AND sbnid IS NOT NULL
ORDER BY subscription_id
