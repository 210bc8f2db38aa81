package dev.icepress.harness;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What the check of one table found: facts for the tests to compare, and problems, which there must be none of. */
final class Findings {
  final Map<String, Object> facts = new LinkedHashMap<>();
  final List<String> problems = new ArrayList<>();
  final List<String> notes = new ArrayList<>();

  /** Whether a rewritten file may be of any schema that the table ever had: schemas change after a rewrite, and during one. */
  final boolean anySchema;

  Findings(boolean anySchema) {
    this.anySchema = anySchema;
  }

  void problem(String format, Object... arguments) {
    problems.add(String.format(format, arguments));
  }

  void note(String format, Object... arguments) {
    notes.add(String.format(format, arguments));
  }

  /** A problem unless the two are equal. */
  void same(Object said, Object true_, String format, Object... arguments) {
    if (said == null ? true_ != null : !said.equals(true_)) {
      problem("%s: says %s, is %s", String.format(format, arguments), said, true_);
    }
  }

  String json(String table) {
    Map<String, Object> all = new LinkedHashMap<>();
    all.put("table", table);
    all.putAll(facts);
    all.put("problems", problems);
    all.put("notes", notes);
    return Json.text(all);
  }
}
