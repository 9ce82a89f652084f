-- Takes what a request needs from every account that it claims, or from none. After periods.lua.
--
-- ARGV: id, lease in us, the `born` that the sums before were made for; then for each account: subject, its limits
-- (requests, input, output, concurrency; 0 for none), its budgets (day, month; -1 for none), whether its dollars are
-- counted, what to take (requests, input, output), dollars to hold, dollars spent before `born` in its day and month.
-- Returns {1} and `born` where the sums before are of another data set; nothing is taken then. Otherwise
-- {0, born, now, refusing account (0 for none), limit, wait in us} and for each account what is missing in its
-- buckets, what is spent of day and month, what runs, what is held.
local FIELDS = 14
local RETRY = 1000000
local id, lease, known = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local is_batch = string.sub(id, 1, 1) == '~'
local day = math.floor(now / DAY)
local year, month = find_month(day)
local born_day = math.floor(born / DAY)
local born_year, born_month = find_month(born_day)
local accounts = {}
local refusing, refused, worst = 0, 0, 0

for at = 4, #ARGV, FIELDS do
  if ARGV[at + 7] == '1' and known ~= born then return {1, born} end
end

-- Numbered as LIMIT_NAMES in limits.py.
local function consider(account, limit, wait)
  if wait > worst then refusing, refused, worst = account, limit, wait end
end

local function read_spent(subject, name, before)
  return before + tonumber(redis.call('GET', PREFIX .. 's:' .. whole(born) .. ':' .. subject .. ':' .. name) or 0)
end

-- Forget what has lapsed: its server was killed. Returns how many run and what is held without it.
local function expire(subject, open, held)
  local lapsed = redis.call('ZRANGEBYSCORE', open, '-inf', whole(now))
  if #lapsed > 0 then
    for _, member in ipairs(lapsed) do
      held = held - tonumber(string.match(member, ':(%d+)$'))
    end
    redis.call('ZREMRANGEBYSCORE', open, '-inf', whole(now))
    redis.call('HSET', PREFIX .. 'a:' .. subject, 'h', whole(held))
  end
  return redis.call('ZCARD', open), held
end

for at = 4, #ARGV, FIELDS do
  local number = #accounts + 1
  local subject = ARGV[at]
  local a = {subject = subject, at = at, missing = {}, limits = {}, spent_day = 0, spent_month = 0}
  local stored = redis.call('HMGET', PREFIX .. 'a:' .. subject, 'r', 'i', 'o', 't', 'h')
  local elapsed = math.max(0, now - tonumber(stored[4] or now))
  for bucket = 1, 3 do
    local limit = tonumber(ARGV[at + bucket])
    local missing = limit > 0 and refill(tonumber(stored[bucket] or 0), limit, elapsed) or 0
    a.limits[bucket], a.missing[bucket] = limit, missing
    local take = tonumber(ARGV[at + 7 + bucket])
    if limit > 0 and take > 0 then
      consider(number, bucket, math.ceil((missing + take * MINUTE - limit * MINUTE) / limit))
    end
  end
  local batched
  batched, a.held = expire(subject, PREFIX .. 'b:' .. subject, tonumber(stored[5] or 0))
  a.running, a.held = expire(subject, PREFIX .. 'o:' .. subject, a.held)
  if a.running + batched == 0 then a.held = 0 end
  local concurrency = tonumber(ARGV[at + 4])
  if concurrency > 0 and a.running >= concurrency and not is_batch then consider(number, 4, RETRY) end
  if ARGV[at + 7] == '1' then
    a.spent_day = read_spent(subject, day, born_day == day and tonumber(ARGV[at + 12]) or 0)
    local is_same = born_year == year and born_month == month
    a.spent_month = read_spent(subject, name_month(year, month), is_same and tonumber(ARGV[at + 13]) or 0)
    local budget_day, budget_month = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
    local left = math.huge
    if budget_day >= 0 then left = budget_day - a.spent_day end
    if budget_month >= 0 then left = math.min(left, budget_month - a.spent_month) end
    if left <= 0 then
      if budget_month >= 0 and a.spent_month >= budget_month then
        consider(number, 7, first_day(year, month + 1) * DAY - now)
      else
        consider(number, 6, (day + 1) * DAY - now)
      end
    elseif left <= a.held then
      consider(number, 5, RETRY)
    end
  end
  accounts[number] = a
end

local reply = {0, born, now, refusing, refused, worst}
for _, a in ipairs(accounts) do
  local at = a.at
  if refusing == 0 then
    local fullness = 0
    for bucket = 1, 3 do
      a.missing[bucket] = a.missing[bucket] + tonumber(ARGV[at + 7 + bucket]) * MINUTE
      if a.limits[bucket] > 0 then fullness = math.max(fullness, a.missing[bucket] / a.limits[bucket]) end
    end
    local nano_usd = tonumber(ARGV[at + 11])
    a.held = a.held + nano_usd
    redis.call(
      'HSET', PREFIX .. 'a:' .. a.subject, 'r', whole(a.missing[1]), 'i', whole(a.missing[2]),
      'o', whole(a.missing[3]), 't', whole(now), 'h', whole(a.held)
    )
    local open = find_open(a.subject, id)
    redis.call('ZADD', open, whole(now + lease), id .. ':' .. whole(nano_usd))
    keep(a.subject, open, lease, fullness)
  end
  for bucket = 1, 3 do
    reply[#reply + 1] = math.ceil(a.missing[bucket])
  end
  reply[#reply + 1] = a.spent_day
  reply[#reply + 1] = a.spent_month
  reply[#reply + 1] = a.running
  reply[#reply + 1] = a.held
end
return reply
