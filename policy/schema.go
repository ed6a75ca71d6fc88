package policy

import "encoding/json"

// Schema is the JSON Schema (draft 2020-12) of a policy file, for editors. It
// is made from the tables that the decoder works from. It knows the values of
// single keys; what they mean together is checked by Load alone.
func Schema() ([]byte, error) {
	schema := policyTable.schema()
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "brig policy, version 1"
	schema["description"] = "What a job may use. Lists replace those of the policy that is extended, except where a key says that it adds to them."
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

// schema describes a table: no other keys than those it knows.
func (t *table) schema() map[string]any {
	properties := map[string]any{}
	var required []string
	for i := range t.keys {
		k := &t.keys[i]
		property := k.schema()
		property["description"] = k.doc
		properties[k.name] = property
		if k.required {
			required = append(required, k.name)
		}
	}
	schema := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		schema["required"] = required
	}
	return schema
}

// The patterns of what is written in strings.
const (
	sizePattern     = `^(0|[0-9]+([kMGT]?B|[KMGT]iB))$`
	durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
)

// schema describes the value of a key.
func (k *key) schema() map[string]any {
	switch k.kind {
	case kindString:
		if len(k.accept) > 0 {
			return map[string]any{"enum": k.accept}
		}
		return map[string]any{"type": "string"}
	case kindBool:
		return map[string]any{"type": "boolean"}
	case kindNumber, kindID, kindCount:
		return k.orUnlimited(map[string]any{"type": "integer", "minimum": k.min, "maximum": k.max})
	case kindCPUs:
		return k.orUnlimited(map[string]any{
			"type": "number", "minimum": float64(k.min) / 100, "maximum": float64(k.max) / 100,
		})
	case kindSize:
		return k.orUnlimited(map[string]any{"type": "string", "pattern": sizePattern})
	case kindDuration:
		return k.orUnlimited(map[string]any{"type": "string", "pattern": durationPattern})
	case kindWord:
		return anyOf(map[string]any{"type": "integer", "minimum": 0},
			map[string]any{"type": "string", "pattern": "^(0x[0-9a-fA-F]{1,16}|[0-9]+)$"})
	case kindNames:
		return map[string]any{"type": "array", "items": map[string]any{"type": "string"}, "uniqueItems": true}
	case kindEnv:
		return map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}}
	case kindUlimits:
		return ulimitSchema()
	case kindTable:
		return k.table.schema()
	default:
		return map[string]any{"type": "array", "items": k.table.schema()}
	}
}

func anyOf(choices ...any) map[string]any { return map[string]any{"anyOf": choices} }

// orUnlimited adds the word where the key takes it.
func (k *key) orUnlimited(schema map[string]any) map[string]any {
	if !k.unlimited {
		return schema
	}
	return anyOf(schema, map[string]any{"const": "unlimited"})
}

func ulimitSchema() map[string]any {
	properties := map[string]any{}
	for _, r := range rlimits {
		choices := []any{map[string]any{"type": "integer", "minimum": 0}, map[string]any{"const": "unlimited"}}
		if r.bytes {
			choices = append(choices, map[string]any{"type": "string", "pattern": sizePattern})
		}
		side := anyOf(choices...)
		pair := map[string]any{
			"type": "object", "additionalProperties": false, "required": []string{"soft", "hard"},
			"properties": map[string]any{"soft": side, "hard": side},
		}
		properties[r.name] = anyOf(side, pair)
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}
