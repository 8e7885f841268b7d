package io.kvasir.node.config;

import com.networknt.schema.Schema;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.LinkedHashMap;
import java.util.Map;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The published schema of kvasir.yaml: the only list of keys, defaults and descriptions. */
public final class ConfigSchema {
    private static final String RESOURCE = "/io/kvasir/node/kvasir.schema.json";
    private final JsonNode root;
    private final Schema validator;
    private final Map<String, JsonNode> leaves = new LinkedHashMap<>();

    private ConfigSchema(final JsonNode root) {
        this.root = root;
        validator = SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12)
                .getSchema(root);
    }

    public static ConfigSchema load() {
        try (InputStream in = ConfigSchema.class.getResourceAsStream(RESOURCE)) {
            final ConfigSchema schema = new ConfigSchema(JsonMapper.shared().readTree(in));
            schema.gather("", schema.root);
            return schema;
        } catch (final IOException e) {
            throw new UncheckedIOException("the schema cannot be read: " + RESOURCE, e);
        }
    }

    /** Every key in dotted form with its schema, in the order of the file. Lists are leaves. */
    public Map<String, JsonNode> leaves() {
        return leaves;
    }

    /** What is fixed for the leaf: its own keywords, then those of the definition that it refers to. */
    public JsonNode keyword(final JsonNode leaf, final String keyword) {
        if (leaf.has(keyword) || !leaf.has("$ref")) {
            return leaf.path(keyword);
        }
        return root.at(leaf.get("$ref").asString().substring(1)).path(keyword);
    }

    public JsonNode root() {
        return root;
    }

    Schema validator() {
        return validator;
    }

    /** {@code dram.capacity} as the environment spells it: {@code KVASIR_DRAM_CAPACITY}. */
    public static String variable(final String key) {
        return "KVASIR_" + key.replace('.', '_').toUpperCase(java.util.Locale.ROOT);
    }

    private void gather(final String prefix, final JsonNode schema) {
        for (final Map.Entry<String, JsonNode> property :
                schema.path("properties").properties()) {
            final String key = prefix + property.getKey();
            if (property.getValue().has("properties")) {
                gather(key + ".", property.getValue());
            } else {
                leaves.put(key, property.getValue());
            }
        }
    }
}
