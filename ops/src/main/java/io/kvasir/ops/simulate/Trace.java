package io.kvasir.ops.simulate;

import io.kvasir.storage.object.Hash256;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.zip.GZIPInputStream;
import org.agrona.collections.Long2LongHashMap;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Requests of a trace: JSON lines with {@code timestamp} (ms), {@code input_length} (tokens) and {@code hash_ids}, one id
 * for each chunk, chained over the prefix, as Mooncake publishes them. Chunks are numbered from 0 in order of appearance.
 *
 * @param requests in order of time
 * @param chunks distinct chunks
 */
record Trace(String name, List<Request> requests, int chunks) {
    /** @param timeMs spread evenly where the trace gives many requests one time */
    record Request(double timeMs, int[] chunks) {}

    /** The name of a chunk as an engine would give it. */
    static Hash256 key(final int chunk) {
        return new Hash256(chunk + 1L, ~(long) chunk, 7, 9);
    }

    /**
     * Reads the first {@code limit} requests; a name that ends in {@code .gz} says that the file is gzipped.
     *
     * @throws IllegalArgumentException a line is no request; names the line
     */
    static Trace read(final Path file, final int limit) throws IOException {
        final Long2LongHashMap numbers = new Long2LongHashMap(-1);
        final List<Long> times = new ArrayList<>();
        final List<int[]> chunks = new ArrayList<>();
        try (BufferedReader lines = open(file)) {
            for (String line = lines.readLine(); line != null && times.size() < limit; line = lines.readLine()) {
                if (line.isBlank()) {
                    continue;
                }
                final JsonNode request;
                try {
                    request = JsonMapper.shared().readTree(line);
                } catch (final JacksonException notJson) {
                    throw new IllegalArgumentException(at(file, times.size()) + "not a JSON object", notJson);
                }
                final JsonNode ids = request.path("hash_ids");
                if (!request.path("timestamp").isNumber() || !ids.isArray() || ids.isEmpty()) {
                    throw new IllegalArgumentException(
                            at(file, times.size()) + "needs timestamp (ms) and hash_ids (at least one whole number)");
                }
                final int[] numbered = new int[ids.size()];
                for (int i = 0; i < numbered.length; i++) {
                    if (!ids.get(i).isIntegralNumber()) {
                        throw new IllegalArgumentException(
                                at(file, times.size()) + "hash_ids has " + ids.get(i) + ", which is no whole number");
                    }
                    final long id = ids.get(i).asLong();
                    final long known = numbers.get(id);
                    numbered[i] = (int) (known >= 0 ? known : numbers.size());
                    numbers.put(id, numbered[i]);
                }
                times.add(request.path("timestamp").asLong());
                chunks.add(numbered);
            }
        }
        if (times.isEmpty()) {
            throw new IllegalArgumentException(file + " has no requests");
        }
        final String name = file.getFileName().toString().replaceFirst("\\.jsonl(\\.gz)?$", "");
        return new Trace(name, spread(times, chunks), numbers.size());
    }

    private static BufferedReader open(final Path file) throws IOException {
        final InputStream bytes = Files.newInputStream(file);
        try {
            return new BufferedReader(new InputStreamReader(
                    file.toString().endsWith(".gz") ? new GZIPInputStream(bytes) : bytes, StandardCharsets.UTF_8));
        } catch (final IOException notGzip) {
            bytes.close();
            throw notGzip;
        }
    }

    private static String at(final Path file, final int before) {
        return file + ", request " + (before + 1) + ": ";
    }

    private static List<Request> spread(final List<Long> times, final List<int[]> chunks) {
        final List<Request> requests = new ArrayList<>(times.size());
        long step = 1;
        for (int from = 0, to; from < times.size(); from = to) {
            to = from + 1;
            while (to < times.size() && times.get(to) <= times.get(from)) {
                to++;
            }
            step = to < times.size() ? times.get(to) - times.get(from) : step;
            for (int i = from; i < to; i++) {
                requests.add(new Request(times.get(from) + (double) step * (i - from) / (to - from), chunks.get(i)));
            }
        }
        return requests;
    }

    /** As many independent copies of this trace at once: the load of a cluster that many times as large. */
    Trace copies(final int count) {
        if (count == 1) {
            return this;
        }
        final List<Request> all = new ArrayList<>(requests.size() * count);
        for (int copy = 0; copy < count; copy++) {
            for (final Request request : requests) {
                final int[] shifted = new int[request.chunks.length];
                for (int i = 0; i < shifted.length; i++) {
                    shifted[i] = request.chunks[i] + copy * chunks;
                }
                // A little later each, so that copies do not move in step.
                all.add(new Request(request.timeMs + copy * 37.0, shifted));
            }
        }
        all.sort(Comparator.comparingDouble(Request::timeMs));
        return new Trace(name, all, Math.multiplyExact(chunks, count));
    }
}
