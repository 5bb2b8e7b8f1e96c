# PowerShell completion for logsh; starts no Python.
# Made from the commands themselves by `python -m completions`: change those, not this file.

Register-ArgumentCompleter -Native -CommandName logsh -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    # What there is at a place: options as "names|what follows them|what they do", with a * where one may be repeated.
    $table = @{
        'logsh' = @{
            Launches = $false
            Commands = @(
                'send|Send one event'
                'run|Run a command and report how it ended'
                'batch|Send one event for each line of JSON'
                'outbox|See, send or drop kept events'
                'sandbox|Run a local Logsh, alone or around a command'
                'doctor|Check settings, service, key and outbox'
                'login|Keep an API key in the configuration file'
                'logout|Remove the API key from a profile'
                'config|See and change settings'
                'completion|Print or install a shell''s completion, or the manual'
                'help|Explain a command, exit-codes, environment or json'
            )
            Options = @(
                '-V --version||Print the version and exit'
                '-h --help||Show this message and exit'
            )
            Arguments = @()
        }
        'logsh send' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '-e --event|text|What happened, e.g. deploy.done'
                '-d --desc --description|text|One sentence; - reads stdin'
                '-w --workspace|text|The workspace; created on first use'
                '-i --icon|emoji|An emoji, or :rocket: and the like'
                '--notify --no-notify||Send a push notification, or don''t'
                '*-m --meta|text|Metadata; KEY:=JSON a number or boolean'
                '--ci||Add the CI''s repository, commit and run'
                '--truncate||Shorten long texts to 150 characters'
                '--no-validate||Let the service judge the event'
                '--dry-run||Print the request, send nothing'
                '-b --background||Return once stored; deliver in background'
                '--deadline|text|For all attempts and waits'
                '--best-effort||Warn and exit 0 if delivery fails'
                '--on-missing-key|words fail skip|Without a key: fail, or skip and exit 0'
                '-p --profile|profiles|Use this profile, not the default one'
                '--json||Print the result as one line of JSON'
                '-q --quiet||Print nothing on success'
                '-v --verbose||Show what happens, on standard error'
                '-h --help||Show this message and exit'
            )
            Arguments = @()
        }
        'logsh run' = @{
            Launches = $true
            Commands = @(
            )
            Options = @(
                '-e --event|text|The event''s name'
                '-d --desc --description|text|Put before how the command ended'
                '-w --workspace|text|The workspace; created on first use'
                '-i --icon|emoji|An emoji, or :rocket: and the like'
                '*-m --meta|text|Metadata; KEY:=JSON a number or boolean'
                '--ci||Add the CI''s repository, commit and run'
                '--on|words always failure success change|always (default), failure, success, change'
                '--notify-on|words failure change always never|failure (default), change, always, never'
                '--notify-after|text|Push from the Nth failure in a row on'
                '--longer-than|text|Report long runs, and failures'
                '--success-codes|text|Exit codes and signals that count as success'
                '--start||Report the start, too'
                '--tail|text|On failure, its output''s end'
                '--timeout|text|End it and all that it started after TIME'
                '--quiet-job||Show its output only if it fails'
                '--dry-run||Show the events and run nothing'
                '-b --background||Return once stored; deliver in background'
                '--deadline|text|For all attempts and waits'
                '--on-missing-key|words fail skip|Without a key: fail, or skip and exit 0'
                '-p --profile|profiles|Use this profile, not the default one'
                '-q --quiet||Print nothing on success'
                '-v --verbose||Show what happens, on standard error'
                '--kill-after|text|From TERM to KILL, once the time is out'
                '--icon-success|emoji|Instead of a green check mark'
                '--icon-failure|emoji|Instead of a red cross'
                '-h --help||Show this message and exit'
            )
            Arguments = @('*command')
        }
        'logsh batch' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '--jobs|text|Requests under way at once'
                '--rate|text|At most N requests a second'
                '--from-line|text|Begin at the Nth line'
                '-w --workspace|text|The workspace; created on first use'
                '--truncate||Shorten long texts to 150 characters'
                '--no-validate||Let the service judge the event'
                '--dry-run||Check every line and send nothing'
                '--deadline|text|For all attempts of an event'
                '--best-effort||Warn and exit 0 if delivery fails'
                '--on-missing-key|words fail skip|Without a key: fail, or skip and exit 0'
                '-p --profile|profiles|Use this profile, not the default one'
                '--json||Print the result as one line of JSON'
                '-q --quiet||Print nothing on success'
                '-v --verbose||Show what happens, on standard error'
                '-h --help||Show this message and exit'
            )
            Arguments = @('files')
        }
        'logsh outbox' = @{
            Launches = $false
            Commands = @(
                'list|Show what is waiting and what was refused'
                'show|Show one kept event, whole'
                'flush|Try everything that is waiting, now; with -q, for a timer, what is due'
                'retry|Try refused events again, now'
                'drop|Remove kept events for good'
                'recover|Read what can be read of a damaged outbox that was set aside'
            )
            Options = @(
                '-h --help||Show this message and exit'
            )
            Arguments = @()
        }
        'logsh outbox list' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '-p --profile|profiles|Use this profile, not the default one'
                '--json||Print a line of JSON for each'
                '-v --verbose||Show what happens, on standard error'
                '-h --help||Show this message and exit'
            )
            Arguments = @()
        }
        'logsh outbox show' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '--json||Print the result as one line of JSON'
                '-v --verbose||Show what happens, on standard error'
                '-h --help||Show this message and exit'
            )
            Arguments = @('text')
        }
        'logsh outbox flush' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '--adopt||Also take this profile''s events that were accepted under another key'
                '--jobs|text|Requests under way at once'
                '--deadline|text|For all attempts of an event'
                '--best-effort||Warn and exit 0 if delivery fails'
                '-p --profile|profiles|Use this profile, not the default one'
                '--json||Print the result as one line of JSON'
                '-q --quiet||Print nothing on success'
                '-v --verbose||Show what happens, on standard error'
                '-h --help||Show this message and exit'
            )
            Arguments = @()
        }
        'logsh outbox retry' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '--all||Every event that the command applies to'
                '--deadline|text|For all attempts of an event'
                '-p --profile|profiles|Use this profile, not the default one'
                '--json||Print the result as one line of JSON'
                '-q --quiet||Print nothing on success'
                '-h --help||Show this message and exit'
            )
            Arguments = @('*text')
        }
        'logsh outbox drop' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '--all||Every event that the command applies to'
                '-y --yes||Don''t ask; needed with --all where there is no terminal'
                '--json||Print the result as one line of JSON'
                '-q --quiet||Print nothing on success'
                '-h --help||Show this message and exit'
            )
            Arguments = @('*text')
        }
        'logsh outbox recover' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '--json||Print a line of JSON for each'
                '-h --help||Show this message and exit'
            )
            Arguments = @('files')
        }
        'logsh sandbox' = @{
            Launches = $true
            Commands = @(
            )
            Options = @(
                '--port|text|Where to listen; 0 is a free port'
                '--fail|text|Answer the first requests so: statuses, drop, slow, html; e.g. 503,429,drop'
                '*--expect|text|End with 1 unless an event has this value. Repeatable; metadata.KEY=VALUE, too'
                '--expect-count|text|End with 1 unless exactly N events match'
                '--expect-none||End with 1 if any event matches'
                '--json||Print each event as a line of JSON; the command''s output goes to standard error'
                '--output|text|Write the events there instead, as lines of JSON'
                '-q --quiet||Print nothing on success'
                '-h --help||Show this message and exit'
            )
            Arguments = @('*command')
        }
        'logsh doctor' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '--deadline|text|For all attempts and waits'
                '-p --profile|profiles|Use this profile, not the default one'
                '--json||Print the result as one line of JSON'
                '-q --quiet||Print nothing on success'
                '-v --verbose||Show what happens, on standard error'
                '-h --help||Show this message and exit'
            )
            Arguments = @()
        }
        'logsh login' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '--key-stdin||Read the key from the first line of standard input'
                '-w --workspace|text|Also set the profile''s workspace'
                '--api-url|text|The URL that the key is for, if self-hosted'
                '--no-verify||Keep the key without asking the service about it'
                '--adopt||Send what waits under the profile''s former key with this one'
                '-p --profile|profiles|Use this profile, not the default one'
                '--json||Print the result as one line of JSON'
                '-q --quiet||Print nothing on success'
                '-v --verbose||Show what happens, on standard error'
                '-h --help||Show this message and exit'
            )
            Arguments = @()
        }
        'logsh logout' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '-p --profile|profiles|Use this profile, not the default one'
                '--json||Print the result as one line of JSON'
                '-q --quiet||Print nothing on success'
                '-v --verbose||Show what happens, on standard error'
                '-h --help||Show this message and exit'
            )
            Arguments = @()
        }
        'logsh config' = @{
            Launches = $false
            Commands = @(
                'list|Show every effective setting, and where it comes from'
                'get|Print one effective setting'
                'set|Set a key of a profile in the configuration file'
                'unset|Remove a key of a profile from the configuration file'
                'path|Print where the configuration file is, or would be'
            )
            Options = @(
                '-h --help||Show this message and exit'
            )
            Arguments = @()
        }
        'logsh config list' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '-p --profile|profiles|Use this profile, not the default one'
                '--json||Print the result as one line of JSON'
                '-v --verbose||Show what happens, on standard error'
                '-h --help||Show this message and exit'
            )
            Arguments = @()
        }
        'logsh config get' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '--reveal||Print the API key itself'
                '-p --profile|profiles|Use this profile, not the default one'
                '--json||Print the result as one line of JSON'
                '-v --verbose||Show what happens, on standard error'
                '-h --help||Show this message and exit'
            )
            Arguments = @('words api_key workspace api_url ca_file icon notify deadline profile metadata best_effort on_missing_key')
        }
        'logsh config set' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '-p --profile|profiles|Use this profile, not the default one'
                '--json||Print the result as one line of JSON'
                '-q --quiet||Print nothing on success'
                '-v --verbose||Show what happens, on standard error'
                '-h --help||Show this message and exit'
            )
            Arguments = @('words workspace api_url ca_file icon notify deadline', 'setting')
        }
        'logsh config unset' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '-p --profile|profiles|Use this profile, not the default one'
                '--json||Print the result as one line of JSON'
                '-q --quiet||Print nothing on success'
                '-v --verbose||Show what happens, on standard error'
                '-h --help||Show this message and exit'
            )
            Arguments = @('words api_key workspace api_url ca_file icon notify deadline')
        }
        'logsh config path' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '--json||Print the result as one line of JSON'
                '-h --help||Show this message and exit'
            )
            Arguments = @()
        }
        'logsh completion' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '--install||Put it where this user''s shell, or man, looks for it'
                '--dry-run||With --install, only say what would be written'
                '-h --help||Show this message and exit'
            )
            Arguments = @('words bash zsh fish powershell man')
        }
        'logsh help' = @{
            Launches = $false
            Commands = @(
            )
            Options = @(
                '-h --help||Show this message and exit'
            )
            Arguments = @('*words send run batch outbox sandbox doctor login logout config completion help exit-codes environment json')
        }
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
            'emoji' { Offer (':rocket: :tada: :sparkles: :fire: :zap: :bulb: :bell: :mega: :email: :package: :gear: :wrench: :hammer: :lock: :key: :link: :mag: :bug: :robot: :computer: :floppy_disk: :file_cabinet: :chart_with_upwards_trend: :chart_with_downwards_trend: :moneybag: :credit_card: :bust_in_silhouette: :busts_in_silhouette: :white_check_mark: :x: :warning: :rotating_light: :no_entry: :construction: :hourglass: :alarm_clock: :calendar: :recycle: :wastebasket: :globe_with_meridians: :cloud: :seedling: :green_circle: :red_circle: :pushpin: :memo: :heart: :wave: :eyes:' -split ' ') $prefix }
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
