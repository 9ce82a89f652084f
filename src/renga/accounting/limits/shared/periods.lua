-- What both scripts begin with: time, days and months in UTC, and the moment since which this data set counts.
--
-- Keys, all under KEYS[1] so that they share a slot of a cluster; S is `k:` and a key's id or `w:` and a workspace's:
--   born          microseconds since 1970 at which this data set began; dollars of the time before are in the ledger
--   replicas      sorted set: servers by when they were last heard of
--   seq:R         number of the last report that server R got through, so that a repeated one changes nothing
--   a:S           hash: r, i, o taken of the buckets, in parts of 1 / MINUTE; t when that was; h nano-dollars held
--   o:S           sorted set: what runs, as `id:nano-dollars`, by when it lapses
--   b:S           the same of batches, whose ids begin with `~`
--   s:BORN:S:D    nano-dollars spent on a day (2026-11-21 is 20778) or in a month (`2026-11`)
-- Every key has a time to live but `born`; losing any of them loses no more than what the ledger knows anyway.
local PREFIX = KEYS[1]
local MINUTE = 60000000
local DAY = 86400000000

local function whole(number)
  return string.format('%.0f', number)
end

local function read_time()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Days since 1970 to year and month, and back to the month's first day.
-- Source: Howard Hinnant, chrono-compatible low-level date algorithms, `civil_from_days` and `days_from_civil`.
local function find_month(day)
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  return yoe + era * 400 + (month <= 2 and 1 or 0), month
end

local function first_day(year, month)
  if month > 12 then year, month = year + 1, 1 end
  local y = month <= 2 and year - 1 or year
  local era = math.floor(y / 400)
  local yoe = y - era * 400
  local doy = math.floor((153 * (month > 2 and month - 3 or month + 9) + 2) / 5)
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
end

local function name_month(year, month)
  return string.format('%d-%02d', year, month)
end

local now = read_time()
local born = tonumber(redis.call('GET', PREFIX .. 'born') or false)
if not born then
  born = now
  redis.call('SET', PREFIX .. 'born', whole(born))
end

-- What is missing in a bucket now, of what was missing at another time.
local function refill(missing, limit, elapsed)
  missing = missing - elapsed * limit
  return missing > 0 and missing or 0
end

-- Where a request stands among what runs.
local function find_open(subject, member)
  return PREFIX .. (string.sub(member, 1, 1) == '~' and 'b:' or 'o:') .. subject
end

local function keep(subject, open, lease, fullness)
  redis.call('PEXPIRE', PREFIX .. 'a:' .. subject, whole(math.max(fullness, lease) / 1000 + 60000))
  redis.call('PEXPIRE', open, whole(lease / 1000 + 60000))
end
