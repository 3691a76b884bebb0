-- Grain: one row per given spot whose language a person decided: its id and the 29 columns of the contract in order.
-- Reads: spot_language_assignments, spots. Writes: nothing. Params: :spot_ids (JSON array). Re-run: safe.
SELECT
    s.spot_id,
    s.bill_code, s.air_date, s.end_date, s.day_of_week, s.time_in, s.time_out, s.length_seconds, s.media, s.comments,
    s.language_code, s.format, s.sequence_number, s.line_number, s.spot_type, s.estimate, s.gross_rate,
    s.make_good, s.spot_value, s.broadcast_month, s.broker_fees, s.priority, s.station_net, s.sales_person,
    s.revenue_type, s.billing_type, s.agency_flag, s.affidavit_flag, s.contract, s.market_name
FROM spots AS s
INNER JOIN spot_language_assignments AS a ON a.spot_id = s.spot_id
WHERE
    s.spot_id IN (SELECT value FROM json_each(:spot_ids))
    AND a.assignment_method = 'manual_override'
