-- wrk: a 64 KiB POST.
wrk.method = "POST"
wrk.body = string.rep("x", 65536)
