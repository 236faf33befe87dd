"""Neural Architecture Transfer: adapt a vision supernet to your images and pick Pareto-optimal subnets."""
