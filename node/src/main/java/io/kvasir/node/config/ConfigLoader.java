package io.kvasir.node.config;

import com.networknt.schema.Error;
import com.networknt.schema.serialization.node.LocationJsonNodeFactoryFactory;
import com.networknt.schema.utils.JsonNodes;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;
import tools.jackson.dataformat.yaml.YAMLFactory;
import tools.jackson.dataformat.yaml.YAMLMapper;

/**
 * Puts the configuration together: the schema's defaults, then the file, then the environment, then flags; the later
 * wins. Reports everything that is wrong at once, each with the file and line, variable or flag that it came from.
 */
public final class ConfigLoader {
    /** What Kubernetes sets for a service called kvasir or kvasir-node. */
    private static final Pattern SERVICE_LINK = Pattern.compile("KVASIR_(.*_)?(SERVICE_HOST|(SERVICE_)?PORT(_.*)?)");

    private static final Pattern BARE_IPV6 = Pattern.compile("(^|[\\s,:-])\\[[0-9a-fA-F.]*:[0-9a-fA-F:.]*\\]");

    private static final YAMLMapper YAML = YAMLMapper.builder(YAMLFactory.builder()
                    .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                    .build())
            .build();

    private final ConfigSchema schema = ConfigSchema.load();
    private final List<String> problems = new ArrayList<>();
    private final Map<String, String> sources = new HashMap<>();
    private final ObjectNode merged = YAML.createObjectNode();

    private ConfigLoader() {}

    /** A configuration, and the document that it came from. */
    public record Loaded(NodeConfig config, String yaml) {}

    /**
     * @param file null: none
     * @param sets {@code key=value}, as given by flags
     * @throws ConfigException with every problem
     */
    public static Loaded load(final Path file, final Map<String, String> environment, final List<String> sets) {
        return load(file, environment, sets, Path.of("/"));
    }

    /** @param root of the file system in which this machine's limits are looked up */
    static Loaded load(
            final Path file, final Map<String, String> environment, final List<String> sets, final Path root) {
        final ConfigLoader loader = new ConfigLoader();
        if (file != null) {
            loader.readFile(file);
        }
        loader.readEnvironment(environment);
        sets.forEach(loader::readFlag);
        loader.validate();
        loader.stopOnProblems();
        loader.addDefaults();
        final NodeConfig config =
                new ConfigReader(loader.merged, loader.sources, environment, loader.problems, root).read();
        loader.stopOnProblems();
        return new Loaded(config, loader.print());
    }

    private void readFile(final Path file) {
        try {
            final JsonNode tree =
                    JsonNodes.readTree(YAML, Files.readString(file), new LocationJsonNodeFactoryFactory());
            if (tree == null || tree.isMissingNode() || tree.isNull()) {
                return;
            }
            if (tree instanceof ObjectNode document) {
                merge(merged, document, "", file);
            } else {
                problems.add(file + ": the file must hold keys and values");
            }
        } catch (final JacksonException e) {
            final long line = e.getLocation() == null ? 0 : e.getLocation().getLineNr();
            problems.add(file + ":" + line + ": not YAML: " + e.getOriginalMessage() + advice(file, line));
        } catch (final IOException e) {
            problems.add(file + ": cannot be read: " + e);
        }
    }

    /** On a line with an IPv6 address that YAML takes for the beginning of a list. */
    private static String advice(final Path file, final long line) {
        try (Stream<String> lines = Files.lines(file)) {
            return lines.skip(Math.max(0, line - 2))
                            .limit(2)
                            .anyMatch(each -> BARE_IPV6.matcher(each).find())
                    ? "; an IPv6 address in brackets needs quotes here, such as \"[fd00::1]:7800\""
                    : "";
        } catch (final IOException gone) {
            return "";
        }
    }

    private void merge(final ObjectNode target, final ObjectNode from, final String prefix, final Path file) {
        for (final Map.Entry<String, JsonNode> property : from.properties()) {
            final String key = prefix + property.getKey();
            final JsonNode value = property.getValue();
            sources.put(key, file + ":" + JsonNodes.tokenStreamLocationOf(value).getLineNr());
            if (value instanceof ObjectNode group) {
                merge(target.withObjectProperty(property.getKey()), group, key + ".", file);
            } else if (!value.isNull()) {
                target.set(property.getKey(), value);
            }
        }
    }

    private void readEnvironment(final Map<String, String> environment) {
        final Map<String, String> keys = new HashMap<>();
        schema.leaves().keySet().forEach(key -> keys.put(ConfigSchema.variable(key), key));
        new TreeMap<>(environment).forEach((name, value) -> {
            if (!name.startsWith("KVASIR_") || SERVICE_LINK.matcher(name).matches()) {
                return;
            }
            final String key = keys.get(name);
            if (key != null) {
                set(key, value, "environment variable " + name);
                return;
            }
            // Other programs have variables of this prefix too; ours begin with a group's name.
            final boolean ours =
                    keys.keySet().stream().anyMatch(known -> group(known).equals(group(name)));
            if (ours) {
                problems.add("environment variable " + name + ": no such key; the nearest is "
                        + Nearest.of(
                                        name.toLowerCase(java.util.Locale.ROOT),
                                        keys.keySet().stream()
                                                .map(known -> known.toLowerCase(java.util.Locale.ROOT))
                                                .toList())
                                .toUpperCase(java.util.Locale.ROOT));
            }
        });
    }

    private static String group(final String variable) {
        final int end = variable.indexOf('_', "KVASIR_".length());
        return end < 0 ? variable : variable.substring(0, end);
    }

    private void readFlag(final String flag) {
        final int at = flag.indexOf('=');
        final String source = "flag --set " + (at < 0 ? flag : flag.substring(0, at));
        if (at < 1) {
            problems.add(source + ": it must have the form key=value");
            return;
        }
        final String key = flag.substring(0, at);
        if (schema.leaves().containsKey(key)) {
            set(key, flag.substring(at + 1), source);
        } else {
            problems.add(source + ": no such key; the nearest is "
                    + Nearest.of(key, schema.leaves().keySet()));
        }
    }

    private void set(final String key, final String value, final String source) {
        sources.put(key, source);
        JsonNode node;
        final boolean isText =
                "string".equals(schema.keyword(schema.leaves().get(key), "type").asString(""));
        final boolean isList = "string".equals(itemType(key));
        try {
            node = YAML.readTree(value);
        } catch (final JacksonException e) {
            // A text need not be YAML: [fd00::1]:7800 is none.
            if (!isText && !isList) {
                problems.add(source + ": not YAML: " + e.getOriginalMessage());
                return;
            }
            node = YAML.getNodeFactory().stringNode(value);
        }
        if (isText && !node.isString()) {
            node = YAML.getNodeFactory().stringNode(value);
        } else if (isList && node.isString()) {
            node = listOf(node.asString());
        }
        ObjectNode at = merged;
        final String[] path = key.split("\\.", -1);
        for (int i = 0; i < path.length - 1; i++) {
            if (at.has(path[i]) && !at.get(path[i]).isObject()) {
                return;
            }
            at = at.withObjectProperty(path[i]);
        }
        at.set(path[path.length - 1], node);
    }

    private String itemType(final String key) {
        return schema.leaves().get(key).at("/items/type").asString("");
    }

    /** {@code a,b} where a list of texts is meant. */
    private static JsonNode listOf(final String value) {
        final ArrayNode list = YAML.createArrayNode();
        for (final String part : value.split(",", -1)) {
            if (!part.isBlank()) {
                list.add(part.strip());
            }
        }
        return list;
    }

    private void validate() {
        for (final Error error : schema.validator().validate(merged)) {
            final StringBuilder parent = new StringBuilder();
            for (int i = 0; i < error.getInstanceLocation().getNameCount(); i++) {
                parent.append(parent.isEmpty() ? "" : ".")
                        .append(error.getInstanceLocation().getElement(i));
            }
            if ("additionalProperties".equals(error.getKeyword())) {
                unknown(parent.toString(), error.getProperty());
            } else {
                problems.add(source(parent.toString()) + ": " + parent + " " + rule(parent.toString(), error));
            }
        }
    }

    private void unknown(final String parent, final String property) {
        final String key = parent.isEmpty() ? property : parent + "." + property;
        final List<String> candidates = parent.startsWith("tenants.")
                ? ofTenant(parent).path("properties").propertyNames().stream()
                        .map(name -> parent + "." + name)
                        .toList()
                : List.copyOf(schema.leaves().keySet());
        problems.add(source(key) + ": no key " + key + "; the nearest is " + Nearest.of(key, candidates));
    }

    private String rule(final String key, final Error error) {
        final JsonNode leaf = key.startsWith("tenants.")
                ? ofTenant(key)
                : schema.leaves().getOrDefault(key.replaceFirst("\\.[0-9]+$", ""), YAML.missingNode());
        final JsonNode rule = schema.keyword(leaf, "x-rule");
        final boolean secret = leaf.path("x-secret").asBoolean(false);
        if (rule.isString() && ("pattern".equals(error.getKeyword()) || "type".equals(error.getKeyword()))) {
            return (secret ? "" : "is " + error.getInstanceNode() + "; it ") + "must be " + rule.asString();
        }
        return secret ? error.getMessage() : "is " + error.getInstanceNode() + "; " + error.getMessage();
    }

    /** The schema of {@code tenants.0}, {@code tenants.0.name} or {@code tenants.0.dram.min}. */
    private JsonNode ofTenant(final String key) {
        JsonNode at = schema.leaves().get("tenants").path("items");
        final String[] path = key.split("\\.", -1);
        for (int i = 2; i < path.length; i++) {
            at = at.path("properties").path(path[i]);
        }
        return at;
    }

    /** Of the key, or of the nearest one above it. */
    private String source(final String key) {
        for (String at = key; !at.isEmpty(); at = at.substring(0, Math.max(0, at.lastIndexOf('.')))) {
            if (sources.containsKey(at)) {
                return sources.get(at);
            }
        }
        return "configuration";
    }

    private void addDefaults() {
        schema.leaves().forEach((key, leaf) -> {
            ObjectNode at = merged;
            final String[] path = key.split("\\.", -1);
            for (int i = 0; i < path.length - 1; i++) {
                at = at.withObjectProperty(path[i]);
            }
            if (!at.has(path[path.length - 1])) {
                at.set(path[path.length - 1], leaf.get("default"));
            }
        });
    }

    /** The whole document, in the schema's order, without secrets. */
    private String print() {
        final ObjectNode ordered = YAML.createObjectNode();
        schema.leaves().forEach((key, leaf) -> {
            ObjectNode at = ordered;
            final String[] path = key.split("\\.", -1);
            for (int i = 0; i < path.length - 1; i++) {
                at = at.withObjectProperty(path[i]);
            }
            at.set(path[path.length - 1], merged.at("/" + key.replace('.', '/')).deepCopy());
        });
        if (!ordered.at("/cluster/secret").asString("").isEmpty()) {
            ordered.withObjectProperty("cluster").put("secret", "(set, not shown)");
        }
        for (final JsonNode tenant : ordered.path("tenants")) {
            if (tenant.has("token")) {
                ((ObjectNode) tenant).put("token", "(set, not shown)");
            }
        }
        return YAML.writeValueAsString(ordered).replaceFirst("^---\n", "");
    }

    private void stopOnProblems() {
        if (!problems.isEmpty()) {
            throw new ConfigException(problems);
        }
    }
}
