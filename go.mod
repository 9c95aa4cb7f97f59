module kondate

go 1.26
