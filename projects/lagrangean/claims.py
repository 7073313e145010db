CLAIMS = ()


def metrics(r):
  return {}
