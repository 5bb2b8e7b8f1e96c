# PowerShell completion for logsh; starts no Python.
# Made from the commands themselves by `python -m completions`: change those, not this file.

Register-ArgumentCompleter -Native -CommandName logsh -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # What there is at a place: options as "names|what follows them|what they do", with a * where one may be repeated.
    $table = @{
@TABLE@
    }

    function Offer($words, $prefix, $tip) {
        foreach ($word in $words) {
            if (-not $word.StartsWith($typed, [StringComparison]::Ordinal)) { continue }
            $text = $prefix + $word
            if ($text -match '[\s''"`$(){};,|&<>@#]') { $text = "'" + $text.Replace("'", "''") + "'" }
            $shown = if ($tip) { $tip } else { $word }
            [System.Management.Automation.CompletionResult]::new($text, $word, 'ParameterValue', $shown)
        }
    }

    function Profiles {
        $directory = $env:LOGSH_CONFIG_DIR
        if (-not $directory) {
            if ($env:OS -eq 'Windows_NT') { $directory = Join-Path $env:LOCALAPPDATA 'logsh' }
            elseif ($env:XDG_CONFIG_HOME) { $directory = Join-Path $env:XDG_CONFIG_HOME 'logsh' }
            elseif ($IsMacOS) { $directory = Join-Path $HOME 'Library/Application Support/logsh' }
            else { $directory = Join-Path $HOME '.config/logsh' }
        }
        'default'
        $header = '^\s*\[\s*profiles\s*\.\s*(?:"([^"]+)"|''([^'']+)''|([A-Za-z0-9_-]+))\s*\]'
        Get-Content -LiteralPath (Join-Path $directory 'config.toml') -Encoding UTF8 -ErrorAction SilentlyContinue |
            ForEach-Object { if ($_ -match $header) { "$($Matches[1])$($Matches[2])$($Matches[3])" } }
    }

    # Offering nothing lets PowerShell complete a file's name.
    function Values($kind, $prefix, $before) {
        $kind, $choices = $kind -split ' '
        switch ($kind) {
            'words' { Offer $choices $prefix }
            'profiles' { Offer (Profiles) $prefix }
            'emoji' { Offer ('@SHORTCODES@' -split ' ') $prefix }
            'setting' {
                if ($before -eq 'notify') { Offer @('true', 'false') $prefix }
                if ($before -eq 'icon') { Values 'emoji' $prefix }
            }
        }
    }

    # Complete the user's command as if it stood alone.
    function Launched($start) {
        $all = $commandAst.Extent.StartScriptPosition.GetFullScript()
        $part = $all.Substring($start, [Math]::Min($cursorPosition, $all.Length) - $start)
        (TabExpansion2 -inputScript $part -cursorColumn $part.Length).CompletionMatches
    }

    function Find($name) {
        foreach ($option in $here.Options) {
            $names, $kind, $does = $option -split '\|', 3
            if (($names.TrimStart('*') -split ' ') -ccontains $name) { return $option }
        }
    }

    $before = @($commandAst.CommandElements | Select-Object -Skip 1 |
            Where-Object { $_.Extent.EndOffset -lt $cursorPosition })
    $path = 'logsh'
    $here = $table[$path]
    $given = @()
    $wanted = ''
    $ended = $false
    $count = 0
    $previous = ''

    foreach ($element in $before) {
        $word = $element.Extent.Text
        if ($wanted) {
            $wanted = ''
        } elseif (-not $ended -and $word -ceq '--') {
            $ended = $true
        } elseif (-not $ended -and $word -clike '--*=*') {
            $given += Find (($word -split '=', 2)[0])
        } elseif (-not $ended -and $word -clike '--*') {
            $option = Find $word
            if ($option) {
                $given += $option
                $wanted = ($option -split '\|', 3)[1]
            }
        } elseif (-not $ended -and $word -clike '-?*') {
            for ($i = 1; $i -lt $word.Length; $i++) {
                $option = Find "-$($word[$i])"
                if (-not $option) { break }
                $given += $option
                $kind = ($option -split '\|', 3)[1]
                if ($kind) {
                    if ($i -eq $word.Length - 1) { $wanted = $kind }
                    break
                }
            }
        } elseif ($here.Commands.Count) {
            $path = "$path $word"
            $here = $table[$path]
            $given = @()
            if (-not $here) { return }
        } elseif ($here.Launches) {
            return Launched $element.Extent.StartOffset
        } else {
            $previous = $word
            if ($count -lt $here.Arguments.Count -and -not $here.Arguments[$count].StartsWith('*')) { $count++ }
        }
    }

    $typed = $wordToComplete
    if ($wanted) { return Values $wanted '' }
    if (-not $ended -and $typed -clike '--*=*') {
        $name, $typed = $typed -split '=', 2
        $option = Find $name
        if ($option) { return Values (($option -split '\|', 3)[1]) "$name=" }
        return
    }
    $argument = if ($count -lt $here.Arguments.Count) { $here.Arguments[$count].TrimStart('*') } else { '' }
    if (-not $ended -and ($typed -clike '-*' -or -not ($here.Commands.Count -or $argument))) {
        foreach ($option in $here.Options) {
            $names, $kind, $does = $option -split '\|', 3
            if (-not $names.StartsWith('*') -and $given -ccontains $option) { continue }
            foreach ($name in $names.TrimStart('*') -split ' ') {
                # Short ones only where they are asked for: each has a long one that says what it does.
                if ($name -clike '--*' -or $typed -clike '-' -or $typed -clike '-?') { Offer $name '' $does }
            }
        }
    } elseif ($here.Commands.Count) {
        foreach ($command in $here.Commands) {
            $name, $does = $command -split '\|', 2
            Offer $name '' $does
        }
    } elseif ($argument -ceq 'command') {
        return Launched ($cursorPosition - $typed.Length)
    } elseif ($argument) {
        return Values $argument '' $previous
    }
}
