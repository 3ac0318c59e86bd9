
iris142*
labelBYTES*
BcatBdog