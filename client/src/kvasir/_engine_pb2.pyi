from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Tier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIER_UNSPECIFIED: _ClassVar[Tier]
    TIER_DEVICE: _ClassVar[Tier]
    TIER_DRAM: _ClassVar[Tier]
    TIER_SSD: _ClassVar[Tier]
    TIER_REMOTE: _ClassVar[Tier]

class SlotStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SLOT_UNSPECIFIED: _ClassVar[SlotStatus]
    SLOT_HIT: _ClassVar[SlotStatus]
    SLOT_MISS: _ClassVar[SlotStatus]
    SLOT_PENDING: _ClassVar[SlotStatus]
    SLOT_NOT_NEEDED: _ClassVar[SlotStatus]
    SLOT_GRANTED: _ClassVar[SlotStatus]
    SLOT_EXISTS: _ClassVar[SlotStatus]
    SLOT_IN_FLIGHT: _ClassVar[SlotStatus]
    SLOT_NO_ROOM: _ClassVar[SlotStatus]
    SLOT_QUOTA: _ClassVar[SlotStatus]
    SLOT_COMMITTED: _ClassVar[SlotStatus]
    SLOT_ABORTED: _ClassVar[SlotStatus]
    SLOT_NOT_RESERVED: _ClassVar[SlotStatus]
TIER_UNSPECIFIED: Tier
TIER_DEVICE: Tier
TIER_DRAM: Tier
TIER_SSD: Tier
TIER_REMOTE: Tier
SLOT_UNSPECIFIED: SlotStatus
SLOT_HIT: SlotStatus
SLOT_MISS: SlotStatus
SLOT_PENDING: SlotStatus
SLOT_NOT_NEEDED: SlotStatus
SLOT_GRANTED: SlotStatus
SLOT_EXISTS: SlotStatus
SLOT_IN_FLIGHT: SlotStatus
SLOT_NO_ROOM: SlotStatus
SLOT_QUOTA: SlotStatus
SLOT_COMMITTED: SlotStatus
SLOT_ABORTED: SlotStatus
SLOT_NOT_RESERVED: SlotStatus

class Request(_message.Message):
    __slots__ = ("id", "deadline_ms", "traceparent", "hello", "attach", "open_namespace", "lookup", "resolve", "renew", "release", "reserve", "commit", "abort", "pin", "unpin", "events", "cancel", "ping", "handoff", "scores")
    ID_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ATTACH_FIELD_NUMBER: _ClassVar[int]
    OPEN_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    LOOKUP_FIELD_NUMBER: _ClassVar[int]
    RESOLVE_FIELD_NUMBER: _ClassVar[int]
    RENEW_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    ABORT_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    UNPIN_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    id: int
    deadline_ms: int
    traceparent: str
    hello: Hello
    attach: Attach
    open_namespace: OpenNamespace
    lookup: Lookup
    resolve: Resolve
    renew: Renew
    release: Release
    reserve: Reserve
    commit: Commit
    abort: Abort
    pin: Pin
    unpin: Unpin
    events: Events
    cancel: Cancel
    ping: Ping
    handoff: Handoff
    scores: Scores
    def __init__(self, id: _Optional[int] = ..., deadline_ms: _Optional[int] = ..., traceparent: _Optional[str] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., attach: _Optional[_Union[Attach, _Mapping]] = ..., open_namespace: _Optional[_Union[OpenNamespace, _Mapping]] = ..., lookup: _Optional[_Union[Lookup, _Mapping]] = ..., resolve: _Optional[_Union[Resolve, _Mapping]] = ..., renew: _Optional[_Union[Renew, _Mapping]] = ..., release: _Optional[_Union[Release, _Mapping]] = ..., reserve: _Optional[_Union[Reserve, _Mapping]] = ..., commit: _Optional[_Union[Commit, _Mapping]] = ..., abort: _Optional[_Union[Abort, _Mapping]] = ..., pin: _Optional[_Union[Pin, _Mapping]] = ..., unpin: _Optional[_Union[Unpin, _Mapping]] = ..., events: _Optional[_Union[Events, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., ping: _Optional[_Union[Ping, _Mapping]] = ..., handoff: _Optional[_Union[Handoff, _Mapping]] = ..., scores: _Optional[_Union[Scores, _Mapping]] = ...) -> None: ...

class Response(_message.Message):
    __slots__ = ("id", "incarnation", "error", "hello", "attach", "open_namespace", "lookup", "resolve", "renew", "release", "reserve", "commit", "abort", "pin", "unpin", "events", "cancel", "ping", "handoff", "scores")
    ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ATTACH_FIELD_NUMBER: _ClassVar[int]
    OPEN_NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    LOOKUP_FIELD_NUMBER: _ClassVar[int]
    RESOLVE_FIELD_NUMBER: _ClassVar[int]
    RENEW_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    RESERVE_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    ABORT_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    UNPIN_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    id: int
    incarnation: bytes
    error: Error
    hello: HelloResult
    attach: AttachResult
    open_namespace: OpenNamespaceResult
    lookup: LookupResult
    resolve: ResolveResult
    renew: RenewResult
    release: ReleaseResult
    reserve: ReserveResult
    commit: CommitResult
    abort: AbortResult
    pin: PinResult
    unpin: UnpinResult
    events: EventsResult
    cancel: CancelResult
    ping: PingResult
    handoff: HandoffResult
    scores: ScoresResult
    def __init__(self, id: _Optional[int] = ..., incarnation: _Optional[bytes] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., hello: _Optional[_Union[HelloResult, _Mapping]] = ..., attach: _Optional[_Union[AttachResult, _Mapping]] = ..., open_namespace: _Optional[_Union[OpenNamespaceResult, _Mapping]] = ..., lookup: _Optional[_Union[LookupResult, _Mapping]] = ..., resolve: _Optional[_Union[ResolveResult, _Mapping]] = ..., renew: _Optional[_Union[RenewResult, _Mapping]] = ..., release: _Optional[_Union[ReleaseResult, _Mapping]] = ..., reserve: _Optional[_Union[ReserveResult, _Mapping]] = ..., commit: _Optional[_Union[CommitResult, _Mapping]] = ..., abort: _Optional[_Union[AbortResult, _Mapping]] = ..., pin: _Optional[_Union[PinResult, _Mapping]] = ..., unpin: _Optional[_Union[UnpinResult, _Mapping]] = ..., events: _Optional[_Union[EventsResult, _Mapping]] = ..., cancel: _Optional[_Union[CancelResult, _Mapping]] = ..., ping: _Optional[_Union[PingResult, _Mapping]] = ..., handoff: _Optional[_Union[HandoffResult, _Mapping]] = ..., scores: _Optional[_Union[ScoresResult, _Mapping]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CODE_UNSPECIFIED: _ClassVar[Error.Code]
        INVALID_ARGUMENT: _ClassVar[Error.Code]
        UNSUPPORTED: _ClassVar[Error.Code]
        UNAUTHENTICATED: _ClassVar[Error.Code]
        PERMISSION_DENIED: _ClassVar[Error.Code]
        NOT_ATTACHED: _ClassVar[Error.Code]
        UNKNOWN_NAMESPACE: _ClassVar[Error.Code]
        UNKNOWN_LEASE: _ClassVar[Error.Code]
        UNKNOWN_SESSION: _ClassVar[Error.Code]
        RESOURCE_EXHAUSTED: _ClassVar[Error.Code]
        DEADLINE_EXCEEDED: _ClassVar[Error.Code]
        CANCELLED: _ClassVar[Error.Code]
        UNAVAILABLE: _ClassVar[Error.Code]
        INTERNAL: _ClassVar[Error.Code]
    CODE_UNSPECIFIED: Error.Code
    INVALID_ARGUMENT: Error.Code
    UNSUPPORTED: Error.Code
    UNAUTHENTICATED: Error.Code
    PERMISSION_DENIED: Error.Code
    NOT_ATTACHED: Error.Code
    UNKNOWN_NAMESPACE: Error.Code
    UNKNOWN_LEASE: Error.Code
    UNKNOWN_SESSION: Error.Code
    RESOURCE_EXHAUSTED: Error.Code
    DEADLINE_EXCEEDED: Error.Code
    CANCELLED: Error.Code
    UNAVAILABLE: Error.Code
    INTERNAL: Error.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: Error.Code
    message: str
    def __init__(self, code: _Optional[_Union[Error.Code, str]] = ..., message: _Optional[str] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("protocol", "client", "token")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    client: str
    token: bytes
    def __init__(self, protocol: _Optional[int] = ..., client: _Optional[str] = ..., token: _Optional[bytes] = ...) -> None: ...

class HelloResult(_message.Message):
    __slots__ = ("protocol", "node", "tenant", "directory", "attachment", "lock_file", "max_frame_bytes")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_FIELD_NUMBER: _ClassVar[int]
    LOCK_FILE_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    node: str
    tenant: str
    directory: str
    attachment: int
    lock_file: str
    max_frame_bytes: int
    def __init__(self, protocol: _Optional[int] = ..., node: _Optional[str] = ..., tenant: _Optional[str] = ..., directory: _Optional[str] = ..., attachment: _Optional[int] = ..., lock_file: _Optional[str] = ..., max_frame_bytes: _Optional[int] = ...) -> None: ...

class Attach(_message.Message):
    __slots__ = ("create", "join", "quiesced")
    CREATE_FIELD_NUMBER: _ClassVar[int]
    JOIN_FIELD_NUMBER: _ClassVar[int]
    QUIESCED_FIELD_NUMBER: _ClassVar[int]
    create: CreateSession
    join: JoinSession
    quiesced: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, create: _Optional[_Union[CreateSession, _Mapping]] = ..., join: _Optional[_Union[JoinSession, _Mapping]] = ..., quiesced: _Optional[_Iterable[int]] = ...) -> None: ...

class CreateSession(_message.Message):
    __slots__ = ("name", "shards", "groups")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    name: str
    shards: _containers.RepeatedCompositeFieldContainer[Shard]
    groups: _containers.RepeatedCompositeFieldContainer[GroupRule]
    def __init__(self, name: _Optional[str] = ..., shards: _Optional[_Iterable[_Union[Shard, _Mapping]]] = ..., groups: _Optional[_Iterable[_Union[GroupRule, _Mapping]]] = ...) -> None: ...

class JoinSession(_message.Message):
    __slots__ = ("session", "secret")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    session: int
    secret: bytes
    def __init__(self, session: _Optional[int] = ..., secret: _Optional[bytes] = ...) -> None: ...

class AttachResult(_message.Message):
    __slots__ = ("session", "secret", "shards", "regions", "namespaces")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    session: int
    secret: bytes
    shards: _containers.RepeatedCompositeFieldContainer[Shard]
    regions: _containers.RepeatedCompositeFieldContainer[Region]
    namespaces: _containers.RepeatedCompositeFieldContainer[OpenNamespaceResult]
    def __init__(self, session: _Optional[int] = ..., secret: _Optional[bytes] = ..., shards: _Optional[_Iterable[_Union[Shard, _Mapping]]] = ..., regions: _Optional[_Iterable[_Union[Region, _Mapping]]] = ..., namespaces: _Optional[_Iterable[_Union[OpenNamespaceResult, _Mapping]]] = ...) -> None: ...

class Shard(_message.Message):
    __slots__ = ("layer_begin", "layer_end", "head_begin", "head_end", "kv_group", "pp_rank", "pp_size", "cp_rank", "cp_size")
    LAYER_BEGIN_FIELD_NUMBER: _ClassVar[int]
    LAYER_END_FIELD_NUMBER: _ClassVar[int]
    HEAD_BEGIN_FIELD_NUMBER: _ClassVar[int]
    HEAD_END_FIELD_NUMBER: _ClassVar[int]
    KV_GROUP_FIELD_NUMBER: _ClassVar[int]
    PP_RANK_FIELD_NUMBER: _ClassVar[int]
    PP_SIZE_FIELD_NUMBER: _ClassVar[int]
    CP_RANK_FIELD_NUMBER: _ClassVar[int]
    CP_SIZE_FIELD_NUMBER: _ClassVar[int]
    layer_begin: int
    layer_end: int
    head_begin: int
    head_end: int
    kv_group: int
    pp_rank: int
    pp_size: int
    cp_rank: int
    cp_size: int
    def __init__(self, layer_begin: _Optional[int] = ..., layer_end: _Optional[int] = ..., head_begin: _Optional[int] = ..., head_end: _Optional[int] = ..., kv_group: _Optional[int] = ..., pp_rank: _Optional[int] = ..., pp_size: _Optional[int] = ..., cp_rank: _Optional[int] = ..., cp_size: _Optional[int] = ...) -> None: ...

class GroupRule(_message.Message):
    __slots__ = ("kv_group", "hit", "window_chunks")
    class Hit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ALL_CHUNKS: _ClassVar[GroupRule.Hit]
        TRAILING_WINDOW: _ClassVar[GroupRule.Hit]
    ALL_CHUNKS: GroupRule.Hit
    TRAILING_WINDOW: GroupRule.Hit
    KV_GROUP_FIELD_NUMBER: _ClassVar[int]
    HIT_FIELD_NUMBER: _ClassVar[int]
    WINDOW_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    kv_group: int
    hit: GroupRule.Hit
    window_chunks: int
    def __init__(self, kv_group: _Optional[int] = ..., hit: _Optional[_Union[GroupRule.Hit, str]] = ..., window_chunks: _Optional[int] = ...) -> None: ...

class Namespace(_message.Message):
    __slots__ = ("model", "weights_digest", "hash_algorithm", "hash_seed", "kv_dtype", "quantization", "layout", "chunk_tokens", "lora", "generation", "extra")
    class ExtraEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    HASH_ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    HASH_SEED_FIELD_NUMBER: _ClassVar[int]
    KV_DTYPE_FIELD_NUMBER: _ClassVar[int]
    QUANTIZATION_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LORA_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    model: str
    weights_digest: bytes
    hash_algorithm: str
    hash_seed: str
    kv_dtype: str
    quantization: str
    layout: str
    chunk_tokens: int
    lora: str
    generation: int
    extra: _containers.ScalarMap[str, str]
    def __init__(self, model: _Optional[str] = ..., weights_digest: _Optional[bytes] = ..., hash_algorithm: _Optional[str] = ..., hash_seed: _Optional[str] = ..., kv_dtype: _Optional[str] = ..., quantization: _Optional[str] = ..., layout: _Optional[str] = ..., chunk_tokens: _Optional[int] = ..., lora: _Optional[str] = ..., generation: _Optional[int] = ..., extra: _Optional[_Mapping[str, str]] = ...) -> None: ...

class OpenNamespace(_message.Message):
    __slots__ = ("namespace",)
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    namespace: Namespace
    def __init__(self, namespace: _Optional[_Union[Namespace, _Mapping]] = ...) -> None: ...

class OpenNamespaceResult(_message.Message):
    __slots__ = ("handle", "id")
    HANDLE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    handle: int
    id: bytes
    def __init__(self, handle: _Optional[int] = ..., id: _Optional[bytes] = ...) -> None: ...

class Lookup(_message.Message):
    __slots__ = ("namespace", "keys", "computed_tokens", "wait_ms", "lease_ms", "peek", "shards", "recompute_tokens_per_s", "priority", "sparse")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    COMPUTED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    PEEK_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    RECOMPUTE_TOKENS_PER_S_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    SPARSE_FIELD_NUMBER: _ClassVar[int]
    namespace: int
    keys: bytes
    computed_tokens: int
    wait_ms: int
    lease_ms: int
    peek: bool
    shards: _containers.RepeatedScalarFieldContainer[int]
    recompute_tokens_per_s: float
    priority: int
    sparse: bool
    def __init__(self, namespace: _Optional[int] = ..., keys: _Optional[bytes] = ..., computed_tokens: _Optional[int] = ..., wait_ms: _Optional[int] = ..., lease_ms: _Optional[int] = ..., peek: bool = ..., shards: _Optional[_Iterable[int]] = ..., recompute_tokens_per_s: _Optional[float] = ..., priority: _Optional[int] = ..., sparse: bool = ...) -> None: ...

class LookupResult(_message.Message):
    __slots__ = ("lease", "lease_ms", "hit_chunks", "pending_chunks", "slots", "regions", "plan")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    HIT_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    PENDING_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    lease: int
    lease_ms: int
    hit_chunks: int
    pending_chunks: int
    slots: bytes
    regions: _containers.RepeatedCompositeFieldContainer[Region]
    plan: _containers.RepeatedCompositeFieldContainer[PlanRange]
    def __init__(self, lease: _Optional[int] = ..., lease_ms: _Optional[int] = ..., hit_chunks: _Optional[int] = ..., pending_chunks: _Optional[int] = ..., slots: _Optional[bytes] = ..., regions: _Optional[_Iterable[_Union[Region, _Mapping]]] = ..., plan: _Optional[_Iterable[_Union[PlanRange, _Mapping]]] = ...) -> None: ...

class PlanRange(_message.Message):
    __slots__ = ("first_chunk", "chunks", "status", "tier", "exact", "expected_ms")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MISS: _ClassVar[PlanRange.Status]
        HIT: _ClassVar[PlanRange.Status]
        PENDING: _ClassVar[PlanRange.Status]
    MISS: PlanRange.Status
    HIT: PlanRange.Status
    PENDING: PlanRange.Status
    FIRST_CHUNK_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_MS_FIELD_NUMBER: _ClassVar[int]
    first_chunk: int
    chunks: int
    status: PlanRange.Status
    tier: Tier
    exact: bool
    expected_ms: int
    def __init__(self, first_chunk: _Optional[int] = ..., chunks: _Optional[int] = ..., status: _Optional[_Union[PlanRange.Status, str]] = ..., tier: _Optional[_Union[Tier, str]] = ..., exact: bool = ..., expected_ms: _Optional[int] = ...) -> None: ...

class Region(_message.Message):
    __slots__ = ("region", "slot_bytes", "slots", "data_file", "header_file")
    REGION_FIELD_NUMBER: _ClassVar[int]
    SLOT_BYTES_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    DATA_FILE_FIELD_NUMBER: _ClassVar[int]
    HEADER_FILE_FIELD_NUMBER: _ClassVar[int]
    region: int
    slot_bytes: int
    slots: int
    data_file: str
    header_file: str
    def __init__(self, region: _Optional[int] = ..., slot_bytes: _Optional[int] = ..., slots: _Optional[int] = ..., data_file: _Optional[str] = ..., header_file: _Optional[str] = ...) -> None: ...

class Resolve(_message.Message):
    __slots__ = ("lease", "shards")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    lease: int
    shards: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, lease: _Optional[int] = ..., shards: _Optional[_Iterable[int]] = ...) -> None: ...

class ResolveResult(_message.Message):
    __slots__ = ("slots", "lease_ms", "regions")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    slots: bytes
    lease_ms: int
    regions: _containers.RepeatedCompositeFieldContainer[Region]
    def __init__(self, slots: _Optional[bytes] = ..., lease_ms: _Optional[int] = ..., regions: _Optional[_Iterable[_Union[Region, _Mapping]]] = ...) -> None: ...

class Renew(_message.Message):
    __slots__ = ("leases", "lease_ms")
    LEASES_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedScalarFieldContainer[int]
    lease_ms: int
    def __init__(self, leases: _Optional[_Iterable[int]] = ..., lease_ms: _Optional[int] = ...) -> None: ...

class RenewResult(_message.Message):
    __slots__ = ("renewed",)
    RENEWED_FIELD_NUMBER: _ClassVar[int]
    renewed: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, renewed: _Optional[_Iterable[bool]] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("leases", "shards")
    LEASES_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    leases: _containers.RepeatedScalarFieldContainer[int]
    shards: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, leases: _Optional[_Iterable[int]] = ..., shards: _Optional[_Iterable[int]] = ...) -> None: ...

class ReleaseResult(_message.Message):
    __slots__ = ("released",)
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    released: int
    def __init__(self, released: _Optional[int] = ...) -> None: ...

class Reserve(_message.Message):
    __slots__ = ("namespace", "shard", "keys", "lengths", "wait_ms", "codec")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    namespace: int
    shard: int
    keys: bytes
    lengths: _containers.RepeatedScalarFieldContainer[int]
    wait_ms: int
    codec: int
    def __init__(self, namespace: _Optional[int] = ..., shard: _Optional[int] = ..., keys: _Optional[bytes] = ..., lengths: _Optional[_Iterable[int]] = ..., wait_ms: _Optional[int] = ..., codec: _Optional[int] = ...) -> None: ...

class ReserveResult(_message.Message):
    __slots__ = ("slots", "regions")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    slots: bytes
    regions: _containers.RepeatedCompositeFieldContainer[Region]
    def __init__(self, slots: _Optional[bytes] = ..., regions: _Optional[_Iterable[_Union[Region, _Mapping]]] = ...) -> None: ...

class Commit(_message.Message):
    __slots__ = ("slots", "parents", "crc32c", "block_hashes", "blocks", "chunk_index", "priority", "ttl_ms")
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    PARENTS_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    BLOCK_HASHES_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INDEX_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    slots: bytes
    parents: bytes
    crc32c: bytes
    block_hashes: bytes
    blocks: int
    chunk_index: _containers.RepeatedScalarFieldContainer[int]
    priority: int
    ttl_ms: int
    def __init__(self, slots: _Optional[bytes] = ..., parents: _Optional[bytes] = ..., crc32c: _Optional[bytes] = ..., block_hashes: _Optional[bytes] = ..., blocks: _Optional[int] = ..., chunk_index: _Optional[_Iterable[int]] = ..., priority: _Optional[int] = ..., ttl_ms: _Optional[int] = ...) -> None: ...

class CommitResult(_message.Message):
    __slots__ = ("statuses",)
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    statuses: bytes
    def __init__(self, statuses: _Optional[bytes] = ...) -> None: ...

class Abort(_message.Message):
    __slots__ = ("slots",)
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    slots: bytes
    def __init__(self, slots: _Optional[bytes] = ...) -> None: ...

class AbortResult(_message.Message):
    __slots__ = ("statuses",)
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    statuses: bytes
    def __init__(self, statuses: _Optional[bytes] = ...) -> None: ...

class Pin(_message.Message):
    __slots__ = ("namespace", "keys", "ttl_ms", "priority")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    namespace: int
    keys: bytes
    ttl_ms: int
    priority: int
    def __init__(self, namespace: _Optional[int] = ..., keys: _Optional[bytes] = ..., ttl_ms: _Optional[int] = ..., priority: _Optional[int] = ...) -> None: ...

class PinResult(_message.Message):
    __slots__ = ("pinned", "missing")
    PINNED_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    pinned: int
    missing: int
    def __init__(self, pinned: _Optional[int] = ..., missing: _Optional[int] = ...) -> None: ...

class Unpin(_message.Message):
    __slots__ = ("namespace", "keys")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    namespace: int
    keys: bytes
    def __init__(self, namespace: _Optional[int] = ..., keys: _Optional[bytes] = ...) -> None: ...

class UnpinResult(_message.Message):
    __slots__ = ("unpinned",)
    UNPINNED_FIELD_NUMBER: _ClassVar[int]
    unpinned: int
    def __init__(self, unpinned: _Optional[int] = ...) -> None: ...

class Events(_message.Message):
    __slots__ = ("after", "limit", "wait_ms")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    after: int
    limit: int
    wait_ms: int
    def __init__(self, after: _Optional[int] = ..., limit: _Optional[int] = ..., wait_ms: _Optional[int] = ...) -> None: ...

class EventsResult(_message.Message):
    __slots__ = ("events", "lost", "node")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    lost: int
    node: str
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., lost: _Optional[int] = ..., node: _Optional[str] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("sequence", "kind", "tier", "namespace", "key", "shard", "unix_ms")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Event.Kind]
        STORED: _ClassVar[Event.Kind]
        REMOVED: _ClassVar[Event.Kind]
        CLEARED: _ClassVar[Event.Kind]
    KIND_UNSPECIFIED: Event.Kind
    STORED: Event.Kind
    REMOVED: Event.Kind
    CLEARED: Event.Kind
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    UNIX_MS_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    kind: Event.Kind
    tier: Tier
    namespace: bytes
    key: bytes
    shard: Shard
    unix_ms: int
    def __init__(self, sequence: _Optional[int] = ..., kind: _Optional[_Union[Event.Kind, str]] = ..., tier: _Optional[_Union[Tier, str]] = ..., namespace: _Optional[bytes] = ..., key: _Optional[bytes] = ..., shard: _Optional[_Union[Shard, _Mapping]] = ..., unix_ms: _Optional[int] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: int
    def __init__(self, request: _Optional[int] = ...) -> None: ...

class CancelResult(_message.Message):
    __slots__ = ("cancelled",)
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    cancelled: bool
    def __init__(self, cancelled: bool = ...) -> None: ...

class Ping(_message.Message):
    __slots__ = ("payload",)
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    def __init__(self, payload: _Optional[bytes] = ...) -> None: ...

class PingResult(_message.Message):
    __slots__ = ("payload",)
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    def __init__(self, payload: _Optional[bytes] = ...) -> None: ...

class Handoff(_message.Message):
    __slots__ = ("namespace", "keys", "target", "ttl_ms", "priority")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    namespace: int
    keys: bytes
    target: str
    ttl_ms: int
    priority: int
    def __init__(self, namespace: _Optional[int] = ..., keys: _Optional[bytes] = ..., target: _Optional[str] = ..., ttl_ms: _Optional[int] = ..., priority: _Optional[int] = ...) -> None: ...

class HandoffResult(_message.Message):
    __slots__ = ("accepted",)
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    def __init__(self, accepted: _Optional[int] = ...) -> None: ...

class Scores(_message.Message):
    __slots__ = ("namespace", "keys")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    namespace: int
    keys: bytes
    def __init__(self, namespace: _Optional[int] = ..., keys: _Optional[bytes] = ...) -> None: ...

class ScoresResult(_message.Message):
    __slots__ = ("nodes", "complete")
    NODES_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeScore]
    complete: bool
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeScore, _Mapping]]] = ..., complete: bool = ...) -> None: ...

class NodeScore(_message.Message):
    __slots__ = ("node", "incarnation", "prefix_chunks", "free_bytes", "queued_bytes", "leased_bytes")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    PREFIX_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    QUEUED_BYTES_FIELD_NUMBER: _ClassVar[int]
    LEASED_BYTES_FIELD_NUMBER: _ClassVar[int]
    node: str
    incarnation: bytes
    prefix_chunks: int
    free_bytes: int
    queued_bytes: int
    leased_bytes: int
    def __init__(self, node: _Optional[str] = ..., incarnation: _Optional[bytes] = ..., prefix_chunks: _Optional[int] = ..., free_bytes: _Optional[int] = ..., queued_bytes: _Optional[int] = ..., leased_bytes: _Optional[int] = ...) -> None: ...
