
iris142*
predictINT64*