// Words that stand where a sequence should: those of `domain/placeholders.py`.

export const PLACEHOLDERS = new Set([
  "\"\"", "#bezug!", "#blocked!", "#busy!", "#calc!", "#connect!", "#div/0!", "#error!", "#field!", "#getal!", "#getting_data", "#leeg!",
  "#n/a", "#n/b", "#n/d", "#naam?", "#name?", "#nb", "#nd", "#nom?", "#nombre!", "#nombre?", "#nome?", "#nul!", "#null!", "#nulo!", "#num!",
  "#nv", "#ref!", "#rif!", "#spill!", "#unknown!", "#valeur!", "#valor!", "#valore!", "#value!", "#verw!", "#waarde!", "#wert!", "#zahl!",
  "''", "()", "(nil)", "(none)", "(null)", "-", "--", "---", "-inf", "-nan", ".", "..", "...", "<na>", "<nil>", "<none>", "<null>", "?",
  "??", "[]", "[null]", "[objectobject]", "\\n", "``", "aaseq", "aminoacids", "aminoacidsequence", "asabove", "aucun", "aucune", "b\"\"",
  "b''", "blank", "cannottranslate", "character(0)", "deleted", "desconocido", "ditto", "ellipsis", "empty", "emptysequence", "emptystring",
  "error", "false", "fehlend", "inconnu", "indisponible", "inf", "kein", "keine", "leer", "missing", "missingsequence", "missingvalue",
  "n.a", "n.a.", "n.d.", "n/a", "n/d", "na", "na_character_", "na_integer_", "na_real_", "nan", "nat", "nd", "nessuno", "nichtverfugbar",
  "nichtvorhanden", "nil", "ninguna", "ninguno", "nodata", "nodisponible", "nohit", "nohits", "nomatch", "nondisponible", "none",
  "nonetype", "noprotein", "noproteinsequence", "noproteinsequenceavailable", "noproteinsequencefound", "noresult", "noresults", "noseq",
  "nosequence", "nosequenceavailable", "nosequencefound", "notapplicable", "notavailable", "notdetermined", "notfound", "notgiven",
  "nothing", "notknown", "notprovided", "notsequenced", "notset", "notspecified", "nottranslatable", "nottranslated", "notyetavailable",
  "novalue", "nrow", "null", "nullptr", "nulo", "obsolete", "pending", "peptide", "placeholder", "protein", "proteinsequence",
  "proteinsequencenotavailable", "proteinsequenceunavailable", "redacted", "removed", "sconosciuto", "seeabove", "seebelow", "seq",
  "seq('')", "sequence", "sequenceisnotavailable", "sequenceisunavailable", "sequencemissing", "sequencenotavailable", "sequencenotfound",
  "sequenceunavailable", "sequenceunknown", "suppressed", "system.dbnull", "system.object", "tba", "tbd", "todo", "translationnotavailable",
  "translationunavailable", "true", "unavailable", "unbekannt", "undef", "undefined", "undefinedsequence", "undetermined", "undisclosed",
  "unknown", "unknownsequence", "unnamed", "unspecified", "untranslatable", "untranslated", "vacio", "vide", "void", "vuoto", "withdrawn",
  "withheld", "{}",
]);
