-- What wrk posts and what it prints: no two requests have the same Idempotency-Key or external_id. Used by load.py,
-- which gives a prefix, the API key and the ticket's body as arguments.
local posted = 0
local prefix, head, text

function init(args)
   prefix, text = args[1], args[3]
   wrk.method = "POST"
   wrk.headers["Authorization"] = "Bearer " .. args[2]
   wrk.headers["Content-Type"] = "application/json"
end

function request()
   posted = posted + 1
   local name = string.format("%s-%09d", prefix, posted)
   wrk.headers["Idempotency-Key"] = name
   local body = string.format('{"external_id": "%s", "subject": "Where is my card?", "body": "%s"}', name, text)
   return wrk.format(nil, nil, nil, body)
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\nRESULT {"answered": %d, "refused": %d, "seconds": %.3f, "per_s": %.3f, "p50_ms": %.4f, "p99_ms": %.4f}\n',
      summary.requests - errors.status, errors.status + errors.connect + errors.read + errors.write + errors.timeout,
      summary.duration / 1e6,
      (summary.requests - errors.status) / (summary.duration / 1e6),
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
