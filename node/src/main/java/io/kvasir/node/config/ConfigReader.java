package io.kvasir.node.config;

import io.kvasir.storage.StoreContext;
import io.kvasir.storage.policy.PolicyKind;
import io.kvasir.storage.tenant.TenantAccounts;
import io.kvasir.storage.tenant.TenantShare;
import io.kvasir.storage.tier.ssd.SsdTier;
import java.io.IOException;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/** Turns a valid document into {@link NodeConfig}: units, what {@code auto} means here, and rules between keys. */
final class ConfigReader {
    private static final String AUTO = "auto";
    private static final String OFF = "off";
    private static final int MAX_SOCKET_PATH_BYTES = 103;
    private static final long GIB = 1L << 30;
    private static final long MIN_DRAM_BYTES = 16 << 20;
    private static final long MIN_IN_FLIGHT_BYTES = 1 << 20;
    private static final long AUTO_SSD_BYTES = 4 * GIB;
    private static final long AUTO_SSD_FREE_BYTES = 8 * GIB;

    private final ObjectNode document;
    private final Map<String, String> sources;
    private final Map<String, String> environment;
    private final List<String> problems;
    private final Path root;

    /** @param root of the file system in which this machine's limits are looked up */
    ConfigReader(
            final ObjectNode document,
            final Map<String, String> sources,
            final Map<String, String> environment,
            final List<String> problems,
            final Path root) {
        this.document = document;
        this.root = root;
        this.sources = sources;
        this.environment = environment;
        this.problems = problems;
    }

    NodeConfig read() {
        final String name = text("node.name");
        final NodeConfig.Engine engine = engine(name);
        final NodeConfig.Cluster cluster =
                new ClusterReader(document, this::duration, this::size, this::inFlight, this::problem).read();
        final NodeConfig.Ssd ssd = ssd(name);
        final NodeConfig.Dram dram = dram(name, cluster, ssd);
        final NodeConfig.Lease lease = new NodeConfig.Lease(
                positive("lease.default"),
                positive("lease.max"),
                at("lease.quota").asDouble());
        if (lease.standard().compareTo(lease.max()) > 0) {
            problem("lease.default", "it must not be longer than lease.max, which is " + text("lease.max"));
        }
        final long reserve = AUTO.equals(text("reserve.quota")) ? 0 : size("reserve.quota");
        if (reserve > dram.capacityBytes()) {
            problem(
                    "reserve.quota",
                    "it must be at most dram.capacity, which is " + ByteSize.format(dram.capacityBytes()));
        }
        return new NodeConfig(
                new NodeConfig.Node(name, positive("node.shutdown_limit"), temporaryDirectories(dram, ssd)),
                engine,
                dram,
                ssd,
                lease,
                new NodeConfig.Reserve(reserve, positive("reserve.deadline")),
                cluster,
                tenants(engine, dram, ssd),
                http(),
                new NodeConfig.Log(text("log.level"), text("log.format")));
    }

    private NodeConfig.Engine engine(final String name) {
        final Path socket = AUTO.equals(text("engine.socket")) ? defaultSocket(name) : path("engine.socket");
        final int bytes = socket.toString().getBytes(StandardCharsets.UTF_8).length;
        if (bytes > MAX_SOCKET_PATH_BYTES) {
            problem(
                    "engine.socket",
                    "the path has " + bytes + " bytes (" + socket + "); at most " + MAX_SOCKET_PATH_BYTES
                            + " are possible");
        }
        final long frame = size("engine.max_frame");
        if (frame < 64 << 10 || frame > 64 << 20) {
            problem("engine.max_frame", "it must be 64KiB to 64MiB");
        }
        final Duration spin = duration("engine.spin");
        if (spin.compareTo(Duration.ofSeconds(1)) > 0) {
            problem("engine.spin", "it must be at most 1s");
        }
        final Duration busySpin = duration("engine.busy_spin");
        if (busySpin.compareTo(Duration.ofSeconds(1)) > 0) {
            problem("engine.busy_spin", "it must be at most 1s");
        }
        return new NodeConfig.Engine(
                socket,
                at("engine.max_connections").asInt(),
                (int) Math.min(frame, Integer.MAX_VALUE),
                positive("engine.default_deadline"),
                spin,
                busySpin,
                positive("engine.stall_limit"),
                at("engine.events_kept").asInt());
    }

    private NodeConfig.Dram dram(final String name, final NodeConfig.Cluster cluster, final NodeConfig.Ssd ssd) {
        final Path directory =
                AUTO.equals(text("dram.directory")) ? Path.of("/dev/shm/kvasir-" + name) : path("dram.directory");
        // Pages of shared memory count for the memory limit of the process that wrote them.
        final Optional<MemoryLimit> limit = MemoryLimit.of(root);
        final MemoryNeed need = MemoryNeed.of(cluster, ssd);
        final long most = limit.map(need::leaves).orElse(Long.MAX_VALUE);
        long capacity = GIB;
        if (AUTO.equals(text("dram.capacity"))) {
            // Of the whole file system, not of what is free: a node that starts again must come to the same.
            final long total = space(directory, true);
            capacity = Math.min(total > 0 ? Math.min(GIB, total / 4) : GIB, most);
        } else {
            capacity = size("dram.capacity");
            if (capacity < MIN_DRAM_BYTES) {
                problem("dram.capacity", "it must be at least " + ByteSize.human(MIN_DRAM_BYTES));
            }
        }
        if (most < MIN_DRAM_BYTES) {
            problem(
                    "dram.capacity",
                    need.describe(limit.get()) + ": that does not leave the " + ByteSize.human(MIN_DRAM_BYTES)
                            + " that DRAM needs; raise the limit");
        } else if (capacity > most) {
            problem(
                    "dram.capacity",
                    "it must be at most " + ByteSize.human(most) + ": " + need.describe(limit.get())
                            + "; more would be killed by the kernel. Lower it, or raise the limit");
        }
        final long region = AUTO.equals(text("dram.region")) ? 0 : size("dram.region");
        if (region != 0 && region < 1 << 20) {
            problem("dram.region", "it must be at least 1MiB");
        }
        return new NodeConfig.Dram(directory, capacity, region, PolicyKind.parse(text("dram.policy")));
    }

    private NodeConfig.Ssd ssd(final String name) {
        final Path directory = AUTO.equals(text("ssd.directory"))
                ? stateHome().resolve("kvasir").resolve(name).resolve("ssd")
                : path("ssd.directory");
        long capacity;
        if (AUTO.equals(text("ssd.capacity"))) {
            capacity = Files.exists(directory) || space(directory, false) >= AUTO_SSD_FREE_BYTES ? AUTO_SSD_BYTES : 0;
        } else {
            capacity = size("ssd.capacity");
            if (capacity != 0 && capacity < 16 << 20) {
                problem("ssd.capacity", "it must be 0 or at least 16MiB");
            }
        }
        final long extent = size("ssd.extent");
        if (extent < 1 << 20 || extent > 64 * GIB || extent % 4096 != 0) {
            problem("ssd.extent", "it must be a multiple of 4KiB, 1MiB to 64GiB");
        }
        final int objects = at("ssd.objects").asInt();
        return new NodeConfig.Ssd(
                directory,
                capacity,
                extent,
                capacity == 0 ? 0 : objects == 0 ? SsdTier.Context.usualObjects(capacity) : objects,
                at("ssd.read_threads").asInt(),
                inFlight("ssd.in_flight"),
                at("ssd.direct_io").asBoolean());
    }

    /** 0 for auto. */
    private long inFlight(final String key) {
        if (AUTO.equals(text(key))) {
            return 0;
        }
        final long bytes = size(key);
        if (bytes < MIN_IN_FLIGHT_BYTES) {
            problem(key, "it must be auto or at least " + ByteSize.human(MIN_IN_FLIGHT_BYTES));
        }
        return bytes;
    }

    private List<NodeConfig.Tenant> tenants(
            final NodeConfig.Engine engine, final NodeConfig.Dram dram, final NodeConfig.Ssd ssd) {
        final List<NodeConfig.Tenant> tenants = new ArrayList<>();
        final Set<String> names = new HashSet<>();
        final Set<String> users = new HashSet<>();
        final Set<String> tokens = new HashSet<>();
        for (final JsonNode entry : at("tenants")) {
            final NodeConfig.Tenant tenant = new NodeConfig.Tenant(
                    entry.path("name").asString(),
                    entry.path("user").asString(""),
                    entry.path("group").asString(""),
                    entry.path("token").asString(""),
                    new TenantShare(
                            share(entry, "dram", "min", dram.capacityBytes()),
                            share(entry, "dram", "max", dram.capacityBytes()),
                            share(entry, "ssd", "min", ssd.capacityBytes()),
                            share(entry, "ssd", "max", ssd.capacityBytes()),
                            entry.path("max_connections").asInt(engine.maxConnections())));
            if (!names.add(tenant.name())) {
                problem("tenants", "two tenants are called " + tenant.name());
            }
            if (tenant.token().isEmpty()) {
                if (tenant.user().isEmpty()) {
                    problem("tenants", "tenant " + tenant.name() + " has neither user nor token");
                } else if (!users.add(tenant.user())) {
                    problem(
                            "tenants",
                            "two tenants share user " + tenant.user()
                                    + ": they could read each other's memory; give each a token, or a user of its own");
                }
            } else if (!tokens.add(tenant.token())) {
                problem("tenants", "tenant " + tenant.name() + " has the token of another tenant");
            }
            tenants.add(tenant);
        }
        final Map<String, TenantShare> shares = new HashMap<>();
        tenants.forEach(tenant -> shares.put(tenant.name(), tenant.share()));
        final long region = new StoreContext()
                .dramCapacity(dram.capacityBytes())
                .regionBytes(dram.regionBytes())
                .regionBytes();
        TenantAccounts.problems(shares, dram.capacityBytes(), region, ssd.capacityBytes())
                .forEach(problem -> problem("tenants", problem));
        return List.copyOf(tenants);
    }

    /** Bytes of a tier that a tenant has at least or at most. */
    private long share(final JsonNode tenant, final String tier, final String bound, final long capacity) {
        final JsonNode value = tenant.path(tier).path(bound);
        if (value.isMissingNode()) {
            return "min".equals(bound) ? 0 : capacity;
        }
        final String text = value.asString().strip();
        try {
            return text.endsWith("%")
                    ? new BigDecimal(text.substring(0, text.length() - 1).strip())
                            .multiply(BigDecimal.valueOf(capacity))
                            .divide(BigDecimal.valueOf(100), RoundingMode.DOWN)
                            .longValueExact()
                    : ByteSize.parse(text);
        } catch (final ArithmeticException | IllegalArgumentException e) {
            problem(
                    "tenants",
                    "tenant " + tenant.path("name").asString() + ": " + tier + "." + bound + ": " + e.getMessage());
            return "min".equals(bound) ? 0 : capacity;
        }
    }

    private NodeConfig.Http http() {
        final String address = text("http.address");
        if (OFF.equals(address)) {
            return new NodeConfig.Http(null, 0);
        }
        final int colon = address.lastIndexOf(':');
        int port = -1;
        try {
            port = colon < 1 ? -1 : Integer.parseInt(address.substring(colon + 1));
        } catch (final NumberFormatException e) {
            port = -1;
        }
        if (port < 0 || port > 65_535) {
            problem("http.address", "it must be off, or HOST:PORT such as 127.0.0.1:9417");
            return new NodeConfig.Http(null, 0);
        }
        final String host = address.substring(0, colon).replaceAll("^\\[|\\]$", "");
        try {
            if (!InetAddress.getByName(host).isLoopbackAddress()) {
                problem("http.address", "only a loopback address is possible, since nothing there is authenticated");
            }
        } catch (final UnknownHostException e) {
            problem("http.address", "the host is not known: " + e.getMessage());
        }
        return new NodeConfig.Http(host, port);
    }

    private List<Path> temporaryDirectories(final NodeConfig.Dram dram, final NodeConfig.Ssd ssd) {
        if (!AUTO.equals(text("node.temporary_directory"))) {
            return List.of(path("node.temporary_directory"));
        }
        final List<Path> places = new ArrayList<>();
        places.add(Path.of(System.getProperty("java.io.tmpdir")).toAbsolutePath());
        final String runtime = environment.getOrDefault("XDG_RUNTIME_DIR", "");
        if (!runtime.isEmpty()) {
            places.add(Path.of(runtime).toAbsolutePath());
        }
        if (ssd.capacityBytes() != 0) {
            places.add(ssd.directory().resolve("temporary"));
        }
        final Path above = dram.directory().getParent();
        if (above != null) {
            places.add(above);
        }
        return List.copyOf(places);
    }

    private Path defaultSocket(final String name) {
        final String runtime = environment.getOrDefault("XDG_RUNTIME_DIR", "");
        if (!runtime.isEmpty()) {
            return Path.of(runtime, "kvasir", name + ".sock");
        }
        final String user = OwnUser.name();
        return "root".equals(user)
                ? Path.of("/run/kvasir", name + ".sock")
                : Path.of("/tmp/kvasir-" + user, name + ".sock");
    }

    private Path stateHome() {
        final String home = environment.getOrDefault("XDG_STATE_HOME", "");
        return home.isEmpty() ? OwnUser.home(environment).resolve(".local").resolve("state") : Path.of(home);
    }

    /** Of the file system that holds the directory, or will; 0 when it cannot be asked. */
    private static long space(final Path directory, final boolean total) {
        Path at = directory.toAbsolutePath();
        while (at != null && !Files.exists(at)) {
            at = at.getParent();
        }
        try {
            return at == null
                    ? 0
                    : total
                            ? Files.getFileStore(at).getTotalSpace()
                            : Files.getFileStore(at).getUsableSpace();
        } catch (final IOException e) {
            return 0;
        }
    }

    private JsonNode at(final String key) {
        return document.at("/" + key.replace('.', '/'));
    }

    private String text(final String key) {
        return at(key).asString();
    }

    private Path path(final String key) {
        return Path.of(text(key)).toAbsolutePath().normalize();
    }

    private long size(final String key) {
        try {
            return ByteSize.parse(text(key));
        } catch (final IllegalArgumentException e) {
            problem(key, e.getMessage());
            return 1 << 30;
        }
    }

    private Duration duration(final String key) {
        try {
            return TimeSpan.parse(text(key));
        } catch (final IllegalArgumentException e) {
            problem(key, e.getMessage());
            return Duration.ofSeconds(1);
        }
    }

    private Duration positive(final String key) {
        final Duration duration = duration(key);
        if (duration.isZero()) {
            problem(key, "it must be longer than 0");
        }
        return duration;
    }

    private void problem(final String key, final String rule) {
        final JsonNode value = at(key);
        problems.add(sources.getOrDefault(key, "default") + ": " + key + (value.isValueNode() ? " is " + value : "")
                + "; " + rule);
    }
}
