/* The part of ONNX Runtime's C interface that the runner uses.
 *
 * OrtApi is a table of function pointers that only ever grows at its end, so a member's place is
 * its name for good. Only the places used are written down. The wheel of ONNX Runtime ships no
 * header; tests/android_bench/test_ort_abi.py compares this table with one where it finds one.
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

/* Tried downwards. The oldest is that of the youngest member that no launch does without. */
#define ORT_NEWEST_API 31
#define ORT_ASSIGNMENT_API 24 /* the first with Session_GetEpGraphAssignmentInfo */
#define ORT_OLDEST_API 12     /* the first with SessionOptionsAppendExecutionProvider */

typedef void Status; /* NULL when all is well; freed with ReleaseStatus */
typedef void Object; /* environment, options, session, value, ...: opaque */

enum { ORT_FLOAT32 = 1, ORT_PLAIN_ALLOCATOR = 0, ORT_DEFAULT_MEMORY = 0 };

typedef void OrtLogger(void *, int severity, const char *category, const char *log_id,
                       const char *location, const char *message);

/* member, place in OrtApi, what it returns, what it takes */
#define ORT_MEMBERS(X) \
    X(GetErrorCode, 1, int, (const Status *)) \
    X(GetErrorMessage, 2, const char *, (const Status *)) \
    X(CreateEnvWithCustomLogger, 4, Status *, \
      (OrtLogger *, void *, int log_level, const char *, Object **)) \
    X(CreateSession, 7, Status *, (Object *env, const char *, Object *options, Object **)) \
    X(CreateSessionOptions, 10, Status *, (Object **)) \
    X(SetOptimizedModelFilePath, 11, Status *, (Object *options, const char *)) \
    X(EnableProfiling, 14, Status *, (Object *options, const char *prefix)) \
    X(SetSessionLogSeverityLevel, 22, Status *, (Object *options, int level)) \
    X(SetSessionGraphOptimizationLevel, 23, Status *, (Object *options, int level)) \
    X(SetIntraOpNumThreads, 24, Status *, (Object *options, int)) \
    X(SetInterOpNumThreads, 25, Status *, (Object *options, int)) \
    X(SessionGetInputCount, 30, Status *, (Object *session, size_t *)) \
    X(SessionGetOutputCount, 31, Status *, (Object *session, size_t *)) \
    X(SessionGetInputTypeInfo, 33, Status *, (Object *session, size_t, Object **)) \
    X(SessionGetOutputTypeInfo, 34, Status *, (Object *session, size_t, Object **)) \
    X(SessionGetInputName, 36, Status *, (Object *session, size_t, Object *allocator, char **)) \
    X(SessionGetOutputName, 37, Status *, (Object *session, size_t, Object *allocator, char **)) \
    X(CreateTensorWithDataAsOrtValue, 49, Status *, \
      (Object *memory, void *, size_t bytes, const int64_t *, size_t rank, int type, Object **)) \
    X(CastTypeInfoToTensorInfo, 55, Status *, (Object *type, const Object **)) \
    X(GetTensorElementType, 60, Status *, (const Object *tensor_info, int *)) \
    X(GetDimensionsCount, 61, Status *, (const Object *tensor_info, size_t *)) \
    X(GetDimensions, 62, Status *, (const Object *tensor_info, int64_t *, size_t)) \
    X(GetSymbolicDimensions, 63, Status *, (const Object *tensor_info, const char **, size_t)) \
    X(CreateCpuMemoryInfo, 69, Status *, (int allocator, int memory, Object **)) \
    X(AllocatorFree, 76, Status *, (Object *allocator, void *)) \
    X(GetAllocatorWithDefaultOptions, 78, Status *, (Object **)) \
    X(ReleaseEnv, 92, void, (Object *)) \
    X(ReleaseStatus, 93, void, (Status *)) \
    X(ReleaseMemoryInfo, 94, void, (Object *)) \
    X(ReleaseSession, 95, void, (Object *)) \
    X(ReleaseValue, 96, void, (Object *)) \
    X(ReleaseTypeInfo, 98, void, (Object *)) \
    X(ReleaseSessionOptions, 100, void, (Object *)) \
    X(SessionEndProfiling, 110, Status *, (Object *session, Object *allocator, char **)) \
    X(AddSessionConfigEntry, 130, Status *, (Object *options, const char *, const char *)) \
    X(RunWithBinding, 133, Status *, (Object *session, Object *run_options, Object *binding)) \
    X(CreateIoBinding, 134, Status *, (Object *session, Object **)) \
    X(ReleaseIoBinding, 135, void, (Object *)) \
    X(BindInput, 136, Status *, (Object *binding, const char *name, Object *value)) \
    X(BindOutput, 137, Status *, (Object *binding, const char *name, Object *value)) \
    X(SessionOptionsAppendExecutionProvider, 216, Status *, \
      (Object *options, const char *name, const char *const *keys, const char *const *values, \
       size_t))

/* The same, of version 24: there only where the library is that new. */
#define ORT_ASSIGNMENT_MEMBERS(X) \
    X(Session_GetEpGraphAssignmentInfo, 407, Status *, \
      (Object *session, Object *const **subgraphs, size_t *)) \
    X(EpAssignedSubgraph_GetEpName, 408, Status *, (const Object *, const char **)) \
    X(EpAssignedSubgraph_GetNodes, 409, Status *, \
      (const Object *, Object *const **nodes, size_t *)) \
    X(EpAssignedNode_GetName, 410, Status *, (const Object *, const char **)) \
    X(EpAssignedNode_GetOperatorType, 412, Status *, (const Object *, const char **))

#define ORT_DECLARE(name, place, result, arguments) static result(*name) arguments;
#define ORT_LOOK_UP(name, place, result, arguments) name = (result(*) arguments)table[place];

/* Exported by libraries that are built with NNAPI, besides OrtGetApiBase. */
typedef Status *OrtAppendNnapi(Object *options, uint32_t flags);

#endif
