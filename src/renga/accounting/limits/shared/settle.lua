-- Applies one report of a server, exactly once: what ended, what it cost, what still runs. After periods.lua.
--
-- ARGV: server, number of the report, lease in us, how long a server counts after it was heard of in us; then entries:
--   S subject id:held input output limit limit limit   ended: correct tokens (requests, input and output limits; 0: none)
--   D subject time nano-dollars                        spent, by the time of the ledger's row
--   O subject id:held                                  still runs
--   N                                                  reports were lost: count dollars anew from the ledger
-- Returns {born, now, servers}.
local replica, number, lease, patience = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local function count_servers()
  local key = PREFIX .. 'replicas'
  redis.call('ZADD', key, whole(now), replica)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now - patience))
  redis.call('PEXPIRE', key, whole(patience / 1000 * 2))
  return redis.call('ZCARD', key)
end

-- Some of the keys of an earlier data set may be left; a server that was cut off may still repeat what it said to it.
local seen = PREFIX .. 'seq:' .. replica
if number <= tonumber(redis.call('GET', seen) or 0) then return {born, now, count_servers()} end
redis.call('SET', seen, ARGV[2], 'EX', 172800)

local function settle(at)
  local subject, member, account = ARGV[at + 1], ARGV[at + 2], PREFIX .. 'a:' .. ARGV[at + 1]
  local open = find_open(subject, member)
  -- Not there: it lapsed, or was never taken.
  if redis.call('ZREM', open, member) == 0 then return end
  local stored = redis.call('HMGET', account, 'r', 'i', 'o', 't', 'h')
  local elapsed = math.max(0, now - tonumber(stored[4] or now))
  local corrections = {0, tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])}
  local missing, fullness = {}, 0
  for bucket = 1, 3 do
    local limit = tonumber(ARGV[at + 4 + bucket])
    -- Full first, then corrected: what ran over while the request ran does not come back.
    local rest = limit > 0 and refill(tonumber(stored[bucket] or 0), limit, elapsed) or 0
    missing[bucket] = math.max(0, rest + corrections[bucket] * MINUTE)
    if limit > 0 then fullness = math.max(fullness, missing[bucket] / limit) end
  end
  local held = math.max(0, tonumber(stored[5] or 0) - tonumber(string.match(member, ':(%d+)$')))
  redis.call(
    'HSET', account, 'r', whole(missing[1]), 'i', whole(missing[2]), 'o', whole(missing[3]), 't', whole(now),
    'h', whole(held)
  )
  keep(subject, open, lease, fullness)
end

local function spend(at)
  local time = tonumber(ARGV[at + 2])
  -- Of the time before this data set: the ledger has it.
  if time < born then return end
  local day = math.floor(time / DAY)
  local prefix = PREFIX .. 's:' .. whole(born) .. ':' .. ARGV[at + 1] .. ':'
  redis.call('INCRBY', prefix .. day, ARGV[at + 3])
  redis.call('EXPIRE', prefix .. day, 172800)
  local name = prefix .. name_month(find_month(day))
  redis.call('INCRBY', name, ARGV[at + 3])
  redis.call('EXPIRE', name, 2764800)
end

local function keep_open(at)
  local subject, member = ARGV[at + 1], ARGV[at + 2]
  local open = find_open(subject, member)
  if redis.call('ZADD', open, whole(now + lease), member) == 1 then
    redis.call('HINCRBY', PREFIX .. 'a:' .. subject, 'h', string.match(member, ':(%d+)$'))
  end
  local left = redis.call('PTTL', PREFIX .. 'a:' .. subject)
  keep(subject, open, lease, math.max(0, left - 60000) * 1000)
end

local at = 5
while at <= #ARGV do
  local kind = ARGV[at]
  if kind == 'S' then
    settle(at)
    at = at + 8
  elseif kind == 'D' then
    spend(at)
    at = at + 4
  elseif kind == 'O' then
    keep_open(at)
    at = at + 3
  else
    born = now
    redis.call('SET', PREFIX .. 'born', whole(born))
    at = at + 1
  end
end
return {born, now, count_servers()}
