package io.kvasir.node.config;

import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;
import tools.jackson.databind.JsonNode;

/** Renders docs/configuration.md from the schema. A test fails when the page is stale, and writes it when asked to. */
public final class ConfigPage {
    private static final String HEAD = """
            # Configuration

            <!-- Written from kvasir.schema.json; change that file, then run:
                 ./mvnw -pl node -am test -Dtest=ConfigPageTest -Dsurefire.failIfNoSpecifiedTests=false -Dkvasir.docs.write=true -->

            A node needs no configuration to start. What is set comes from, the later wins:

            1. the defaults below,
            2. `kvasir.yaml` in the current directory, or the file that `--config` names,
            3. environment variables: `dram.capacity` is `KVASIR_DRAM_CAPACITY`,
            4. flags: `--set dram.capacity=8GiB`.

            Unknown keys are errors that name the nearest key; all errors are reported together, each with the file and line,
            the variable or the flag that it came from. `kvasir node --print-config` prints the result. The schema for editors
            is [`kvasir.schema.json`](../node/src/main/resources/io/kvasir/node/kvasir.schema.json).

            **Sizes** carry a unit: `4096`, `512MiB`, `8GiB` (1024-based; `M` and `G` alone too), `8GB` (1000-based).
            **Times** carry a unit: `50us`, `250ms`, `30s`, `10m`, `1h`.

            ```yaml
            node:
              name: gpu-3
            dram:
              capacity: 64GiB
            ssd:
              directory: /var/lib/kvasir
              capacity: 1TiB
            ```
            """;

    private ConfigPage() {}

    public static String render(final ConfigSchema schema) {
        final StringBuilder page = new StringBuilder(HEAD);
        for (final Map.Entry<String, JsonNode> group :
                schema.root().path("properties").properties()) {
            page.append("\n## ").append(group.getKey()).append("\n\n");
            page.append(group.getValue().path("description").asString()).append('\n');
            page.append("\n| key | value | default | meaning |\n|---|---|---|---|\n");
            if (group.getValue().has("properties")) {
                group.getValue()
                        .path("properties")
                        .properties()
                        .forEach(property -> row(
                                page, schema, group.getKey() + "." + property.getKey(), property.getValue(), false));
            } else {
                rows(page, schema, group.getKey() + "[].", group.getValue().path("items"));
            }
        }
        return page.toString();
    }

    private static void rows(
            final StringBuilder page, final ConfigSchema schema, final String prefix, final JsonNode items) {
        items.path("properties").properties().forEach(property -> {
            if (property.getValue().has("properties")) {
                rows(page, schema, prefix + property.getKey() + ".", property.getValue());
            } else {
                row(page, schema, prefix + property.getKey(), property.getValue(), required(items, property.getKey()));
            }
        });
    }

    private static void row(
            final StringBuilder page,
            final ConfigSchema schema,
            final String key,
            final JsonNode leaf,
            final boolean required) {
        final String standard =
                leaf.has("default") ? "`" + text(leaf.get("default")) + "`" : required ? "(required)" : "";
        page.append("| `")
                .append(key)
                .append("` | ")
                .append(value(schema, leaf))
                .append(" | ")
                .append(standard)
                .append(" | ")
                .append(leaf.path("description").asString().replace("|", "\\|"))
                .append(" |\n");
    }

    private static String value(final ConfigSchema schema, final JsonNode leaf) {
        if (leaf.has("enum")) {
            return StreamSupport.stream(leaf.get("enum").spliterator(), false)
                    .map(choice -> "`" + choice.asString() + "`")
                    .collect(Collectors.joining(", "));
        }
        final String unit = schema.keyword(leaf, "x-unit").asString("");
        if (!unit.isEmpty()) {
            return switch (unit) {
                case "size" -> "size";
                case "share" -> "size or percentage";
                default -> "time";
            };
        }
        final JsonNode type = leaf.path("type");
        final String name = type.isArray()
                ? StreamSupport.stream(type.spliterator(), false)
                        .map(JsonNode::asString)
                        .collect(Collectors.joining(" or "))
                : type.asString();
        final String least = leaf.has("minimum")
                ? leaf.get("minimum").asString() + " to "
                : leaf.has("exclusiveMinimum")
                        ? "above " + leaf.get("exclusiveMinimum").asString() + ", to "
                        : "";
        return leaf.has("maximum") ? name + ", " + least + leaf.get("maximum").asString() : name;
    }

    private static String text(final JsonNode value) {
        return value.isArray() ? "[]" : value.asString().isEmpty() ? "\"\"" : value.asString();
    }

    private static boolean required(final JsonNode items, final String property) {
        return StreamSupport.stream(items.path("required").spliterator(), false)
                .anyMatch(name -> property.equals(name.asString()));
    }
}
