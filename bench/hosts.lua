-- wrk: each request names another of a million hosts, in an order without pattern. The texts of 20,000
-- requests are made beforehand, so that this costs the load next to nothing.
local requests = {}
local at = 0

function init()
  math.randomseed(1)
  for i = 1, 20000 do
    local host = string.format("h%06d.example.test", math.random(0, 999999))
    requests[i] = wrk.format("GET", "/1k", {Host = host})
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end
