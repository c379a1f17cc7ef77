"""The schema: netspec.proto is the language, weights.proto decodes weights files; generated modules beside them."""
