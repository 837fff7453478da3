"""From rows to statistics, effects, verdicts and fronts: numbers only, no words and no layout."""
