&
p-1
v1"

classifierimage:12*

labelcat