/* The part of ONNX Runtime's C interface that the runner uses.
 *
 * OrtApi is a table of function pointers that only ever grows at its end, so a member's place is
 * its name for good. Only the places used are written down. No wheel of ONNX Runtime ships the
 * header. tests/benchmarks/test_arm64_runner.py runs this table against the library at hand.
 * Source: onnxruntime/core/session/onnxruntime_c_api.h, struct OrtApi.
 */
#ifndef ORT_ABI_H
#define ORT_ABI_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    void *const *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} OrtApiBase;

/* Any release that has AddSessionConfigEntry (place 130, version 4) answers to this version. */
#define ORT_TABLE_VERSION 4

typedef void Status; /* NULL when all is well */
typedef void Object; /* environment, options, session, value, ...: opaque */

enum { FLOAT32 = 1, PLAIN_ALLOCATOR = 0, DEFAULT_MEMORY = 0, LOG_ERRORS = 3 };

/* member, place in OrtApi, what it returns, what it takes */
#define ORT_MEMBERS(X) \
    X(GetErrorMessage, 2, const char *, (const Status *)) \
    X(CreateEnv, 3, Status *, (int log_level, const char *, Object **)) \
    X(CreateSession, 7, Status *, (Object *env, const char *, Object *options, Object **)) \
    X(Run, 9, Status *, \
      (Object *session, Object *options, const char *const *, Object *const *, size_t, \
       const char *const *, size_t, Object **)) \
    X(CreateSessionOptions, 10, Status *, (Object **)) \
    X(EnableProfiling, 14, Status *, (Object *options, const char *prefix)) \
    X(SetSessionGraphOptimizationLevel, 23, Status *, (Object *options, int level)) \
    X(SetIntraOpNumThreads, 24, Status *, (Object *options, int)) \
    X(SetInterOpNumThreads, 25, Status *, (Object *options, int)) \
    X(SessionGetInputCount, 30, Status *, (Object *session, size_t *)) \
    X(SessionGetOutputCount, 31, Status *, (Object *session, size_t *)) \
    X(SessionGetInputTypeInfo, 33, Status *, (Object *session, size_t, Object **)) \
    X(SessionGetInputName, 36, Status *, (Object *session, size_t, Object *allocator, char **)) \
    X(SessionGetOutputName, 37, Status *, (Object *session, size_t, Object *allocator, char **)) \
    X(CreateTensorWithDataAsOrtValue, 49, Status *, \
      (Object *memory, void *, size_t bytes, const int64_t *, size_t rank, int type, Object **)) \
    X(GetTensorMutableData, 51, Status *, (Object *value, void **)) \
    X(CastTypeInfoToTensorInfo, 55, Status *, (Object *type, Object **)) \
    X(GetTensorElementType, 60, Status *, (Object *tensor_info, int *)) \
    X(GetDimensionsCount, 61, Status *, (Object *tensor_info, size_t *)) \
    X(GetDimensions, 62, Status *, (Object *tensor_info, int64_t *, size_t)) \
    X(GetTensorShapeElementCount, 64, Status *, (Object *tensor_info, size_t *)) \
    X(GetTensorTypeAndShape, 65, Status *, (Object *value, Object **)) \
    X(CreateCpuMemoryInfo, 69, Status *, (int allocator, int memory, Object **)) \
    X(GetAllocatorWithDefaultOptions, 78, Status *, (Object **)) \
    X(ReleaseSession, 95, void, (Object *)) \
    X(ReleaseValue, 96, void, (Object *)) \
    X(SessionEndProfiling, 110, Status *, (Object *session, Object *allocator, char **)) \
    X(AddSessionConfigEntry, 130, Status *, (Object *options, const char *, const char *))

#define ORT_DECLARE(name, place, result, arguments) static result(*name) arguments;
#define ORT_LOOK_UP(name, place, result, arguments) name = (result(*) arguments)table[place];

#endif
