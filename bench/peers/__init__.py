"""The same job in other systems, each as its own users would write it for speed."""
