module example.com/workload

go 1.26.0

require golang.org/x/text v0.38.0
