"""Many instances into one, one into many, and a part of one."""
