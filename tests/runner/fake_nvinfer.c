/* What the runner looks up in TensorRT's library, of version VERSION. */
void* createInferRuntime_INTERNAL(void* logger, int version) {
  (void)logger;
  (void)version;
  return 0;
}

int getInferLibVersion(void) {
  return VERSION;
}
