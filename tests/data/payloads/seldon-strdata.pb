&
p-1
v1"

classifierimage:1*cat