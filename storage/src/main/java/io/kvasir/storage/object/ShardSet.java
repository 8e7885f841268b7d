package io.kvasir.storage.object;

import java.util.List;
import java.util.Map;

/**
 * Everything one chunk consists of for one engine.
 *
 * @param shards indices into this list name shards
 * @param rules by KV group; a group without one follows {@link HitRule.AllChunks}
 */
public record ShardSet(List<Shard> shards, Map<Integer, HitRule> rules) {
    public static final int MAX_SHARDS = 4096;

    public ShardSet {
        shards = List.copyOf(shards);
        rules = Map.copyOf(rules);
        if (shards.isEmpty() || shards.size() > MAX_SHARDS) {
            throw new IllegalArgumentException(
                    "a session declares 1 to " + MAX_SHARDS + " shards, not " + shards.size());
        }
        if (shards.stream().distinct().count() != shards.size()) {
            throw new IllegalArgumentException("a session declares each shard once");
        }
        for (final int group : rules.keySet()) {
            if (shards.stream().noneMatch(shard -> shard.kvGroup() == group)) {
                throw new IllegalArgumentException("a hit rule names KV group " + group + ", which no shard has");
            }
        }
    }
}
